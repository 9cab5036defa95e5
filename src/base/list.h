/* A doubly-linked list whose nodes live in the things that are linked.
 *
 * An empty list points at itself. list_remove leaves the node linked to itself, so removing twice
 * is harmless. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define list_entry(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

/* `node` may be removed (and freed) inside of the loop. */
#define list_for_each(node, head)                                                                 \
    for (struct list *node = (head)->next, *node##_next = node->next; node != (head);             \
         node = node##_next, node##_next = node->next)

static inline void list_init(struct list *head)
{
    head->next = head->prev = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_append(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}
