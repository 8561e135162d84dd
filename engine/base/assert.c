#include "engine/base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void kap_assert_failed(const char *file, int line, const char *condition)
{
    fprintf(stderr, "kap: assertion failed at %s:%d: %s\n", file, line, condition);
    abort();
}
