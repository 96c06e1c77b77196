/* The network interfaces: read, sort, compare (udx.md 6, interface watch). */
#include "hyper_loop.h"

#include <stdlib.h>
#include <string.h>

static int
compare (const void *a, const void *b) {
  const uv_interface_address_t *x = a, *y = b;
  int order = memcmp(x->phys_addr, y->phys_addr, sizeof(x->phys_addr));
  if (order) return order;
  if (x->address.address4.sin_family != y->address.address4.sin_family) {
    return x->address.address4.sin_family < y->address.address4.sin_family ? -1 : 1;
  }
  if (x->address.address4.sin_family == AF_INET) {
    return memcmp(&x->address.address4.sin_addr, &y->address.address4.sin_addr, sizeof(x->address.address4.sin_addr));
  }
  return memcmp(&x->address.address6.sin6_addr, &y->address.address6.sin6_addr, sizeof(x->address.address6.sin6_addr));
}

static int
of_family (const uv_interface_address_t *entry, int family) {
  return family == AF_UNSPEC || entry->address.address4.sin_family == family;
}

/* The next entry of the family at or after `index`, `count` when there is none. */
static int
next_of_family (const uv_interface_address_t *list, int count, int index, int family) {
  while (index < count && !of_family(&list[index], family)) index++;
  return index;
}

static int
same (const uv_interface_address_t *a, int a_count, const uv_interface_address_t *b, int b_count, int family) {
  int i = next_of_family(a, a_count, 0, family), j = next_of_family(b, b_count, 0, family);
  while (i < a_count && j < b_count) {
    if (compare(&a[i], &b[j]) != 0) return 0;
    i = next_of_family(a, a_count, i + 1, family);
    j = next_of_family(b, b_count, j + 1, family);
  }
  return i == a_count && j == b_count;
}

int
hyper_interfaces_read (uv_interface_address_t **list, int *count) {
  *list = NULL;
  *count = 0;
  int err = uv_interface_addresses(list, count);
  if (err) return err;
  if (*count > 1) qsort(*list, (size_t) *count, sizeof(**list), compare);
  return 0;
}

int
hyper_interfaces_poll (uv_interface_address_t **list, int *count, int family) {
  uv_interface_address_t *now;
  int now_count;
  int err = hyper_interfaces_read(&now, &now_count);
  if (err) return err;
  if (same(now, now_count, *list, *count, family)) {
    uv_free_interface_addresses(now, now_count);
    return 0;
  }
  uv_free_interface_addresses(*list, *count);
  *list = now;
  *count = now_count;
  return 1;
}

void
hyper_interfaces_free (uv_interface_address_t **list, int *count) {
  uv_free_interface_addresses(*list, *count);
  *list = NULL;
  *count = 0;
}
