/* Intrusive circular doubly linked list. A link that is in no list points to itself. */
#ifndef UDX_ENGINE_LIST_H
#define UDX_ENGINE_LIST_H

#include <stddef.h>

typedef struct udx_link_s {
  struct udx_link_s *prev;
  struct udx_link_s *next;
} udx_link_t;

#define UDX__OWNER(type, field, link) ((type *) (void *) ((char *) (link) -offsetof(type, field)))

/* The public struct that holds `field` of its engine state at `link`. */
#define UDX__PUBLIC(type, state, field, link)                                                                          \
  ((type *) (void *) ((char *) (link) -offsetof(type, reserved) - offsetof(state, field)))

static inline void
udx__list_init (udx_link_t *l) {
  l->prev = l->next = l;
}

static inline int
udx__list_empty (const udx_link_t *l) {
  return l->next == l;
}

static inline void
udx__list_append (udx_link_t *list, udx_link_t *l) {
  l->prev = list->prev;
  l->next = list;
  list->prev->next = l;
  list->prev = l;
}

static inline void
udx__list_prepend (udx_link_t *list, udx_link_t *l) {
  udx__list_append(list->next, l);
}

/* Harmless on a link that is in no list. */
static inline void
udx__list_remove (udx_link_t *l) {
  l->prev->next = l->next;
  l->next->prev = l->prev;
  l->prev = l->next = l;
}

/* Moves everything from `from` to the (uninitialised) list `to`. */
static inline void
udx__list_take (udx_link_t *to, udx_link_t *from) {
  if (udx__list_empty(from)) {
    udx__list_init(to);
    return;
  }
  *to = *from;
  to->next->prev = to;
  to->prev->next = to;
  udx__list_init(from);
}

#endif
