/* A small JSON reader for the golden vectors: the whole file becomes one tree. Test code: exits on malformed input. */
#ifndef UDX_TEST_JSON_H
#define UDX_TEST_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_kind_t;

typedef struct json {
  json_kind_t kind;
  const char *key;    /* in an object */
  double number;      /* also 0 or 1 for JSON_BOOL */
  const char *string; /* terminated; escapes resolved */
  size_t count;
  struct json *first, *next;
} json_t;

json_t *
json_load (const char *path); /* NULL if the file cannot be read */
json_t *
json_get (const json_t *object, const char *key);
const char *
json_string (const json_t *object, const char *key); /* "" if absent */
uint32_t
json_u32 (const json_t *object, const char *key);
bool
json_has (const json_t *object, const char *key);
size_t
json_hex (const char *hex, uint8_t **bytes); /* allocates */

#endif
