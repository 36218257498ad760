/* list.h - an intrusive doubly linked list.
 *
 * A struct that can be listed holds a `struct list_node`; a list is a node that is its own neighbour
 * when empty.  Nothing is allocated, nothing can fail, and removing a node that is on no list is allowed,
 * so that abort paths need not ask.
 */
#ifndef PERIGEE_LIST_H
#define PERIGEE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next, *prev;
};

/* The struct of the given type whose member is the node. */
#define LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* Also turns a node into "on no list". */
static inline void list_init(struct list_node *n)
{
    n->next = n->prev = n;
}

static inline bool list_empty(const struct list_node *head)
{
    return head->next == head;
}

/* True for a node that is on a list; a zeroed node is on none. */
static inline bool list_linked(const struct list_node *n)
{
    return n->next != NULL && n->next != n;
}

static inline void list_append(struct list_node *head, struct list_node *n)
{
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}

static inline void list_prepend(struct list_node *head, struct list_node *n)
{
    list_append(head->next, n);
}

static inline void list_remove(struct list_node *n)
{
    if (n->next == NULL) return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

/* First node, or NULL. */
static inline struct list_node *list_first(struct list_node *head)
{
    return list_empty(head) ? NULL : head->next;
}

/* Takes the first node off and returns it, or NULL. */
static inline struct list_node *list_pop(struct list_node *head)
{
    struct list_node *n = list_first(head);
    if (n) list_remove(n);
    return n;
}

/* Moves everything on `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_splice(struct list_node *to, struct list_node *from)
{
    if (list_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#endif
