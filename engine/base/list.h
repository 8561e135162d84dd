/* list.h - intrusive doubly linked ring. The head is a node too; a lone node points to itself. */
#pragma once

#include <stdbool.h>

struct kap_list {
    struct kap_list *next, *prev;
};

static inline void kap_list_init(struct kap_list *head)
{
    head->next = head->prev = head;
}

static inline bool kap_list_empty(const struct kap_list *head)
{
    return head->next == head;
}

static inline void kap_list_push_back(struct kap_list *head, struct kap_list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void kap_list_push_front(struct kap_list *head, struct kap_list *node)
{
    kap_list_push_back(head->next, node);
}

static inline void kap_list_remove(struct kap_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->next = node->prev = node;
}
