#include "tests/lib/test.h"

static struct kap_plain_test *first, **last = &first;

void kap_plain_test_add(struct kap_plain_test *test)
{
    *last = test;
    last = &test->next;
}

int main(void)
{
    int passed = 0;
    for (struct kap_plain_test *test = first; test; test = test->next) {
        fprintf(stderr, "[ RUN ] %s::%s\n", test->suite, test->name);
        test->run();
        passed++;
    }
    fprintf(stderr, "%d passed, 0 failed\n", passed);
    return 0;
}
