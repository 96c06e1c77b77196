#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  char *at;
} reader_t;

static json_t *
value (reader_t *r);

_Noreturn static void
malformed (const char *what) {
  fprintf(stderr, "JSON: %s\n", what);
  exit(2);
}

static void
space (reader_t *r) {
  while (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t') r->at++;
}

static void
expect (reader_t *r, const char *text) {
  size_t n = strlen(text);
  if (strncmp(r->at, text, n) != 0) malformed(text);
  r->at += n;
}

/* Unescapes in place; the vectors are ASCII, so \u is only taken below 0x80. */
static const char *
string (reader_t *r) {
  expect(r, "\"");
  char *start = r->at, *out = r->at;
  while (*r->at != '"') {
    char c = *r->at++;
    if (c == '\0') malformed("string");
    if (c == '\\') {
      c = *r->at++;
      if (c == 'n') c = '\n';
      else if (c == 't') c = '\t';
      else if (c == 'u') {
        char digits[5] = {0};
        memcpy(digits, r->at, 4);
        c = (char) strtol(digits, NULL, 16);
        r->at += 4;
      }
    }
    *out++ = c;
  }
  r->at++;
  *out = '\0';
  return start;
}

static json_t *
node (json_kind_t kind) {
  json_t *j = calloc(1, sizeof(*j));
  if (!j) malformed("memory");
  j->kind = kind;
  return j;
}

static json_t *
list (reader_t *r, bool object) {
  json_t *j = node(object ? JSON_OBJECT : JSON_ARRAY), **tail = &j->first;
  expect(r, object ? "{" : "[");
  space(r);
  char close = object ? '}' : ']';
  while (*r->at != close) {
    const char *key = NULL;
    if (object) {
      key = string(r);
      space(r);
      expect(r, ":");
      space(r);
    }
    json_t *v = value(r);
    v->key = key;
    *tail = v;
    tail = &v->next;
    j->count++;
    space(r);
    if (*r->at == ',') {
      r->at++;
      space(r);
    } else if (*r->at != close) {
      malformed("list");
    }
  }
  r->at++;
  return j;
}

static json_t *
value (reader_t *r) {
  space(r);
  json_t *j;
  switch (*r->at) {
  case '{':
    return list(r, true);
  case '[':
    return list(r, false);
  case '"':
    j = node(JSON_STRING);
    j->string = string(r);
    return j;
  case 't':
  case 'f':
    j = node(JSON_BOOL);
    j->number = *r->at == 't';
    expect(r, *r->at == 't' ? "true" : "false");
    return j;
  case 'n':
    expect(r, "null");
    return node(JSON_NULL);
  default: {
    char *end;
    j = node(JSON_NUMBER);
    j->number = strtod(r->at, &end);
    if (end == r->at) malformed("value");
    r->at = end;
    return j;
  }
  }
}

/* The last tree, reachable for the leak check: a compiler keeps a file scope variable that others may read. */
json_t *json_loaded;

json_t *
json_load (const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  rewind(f);
  char *text = malloc((size_t) n + 1);
  if (!text || fread(text, 1, (size_t) n, f) != (size_t) n) malformed("read");
  text[n] = '\0';
  fclose(f);
  reader_t r = {text};
  json_loaded = value(&r);
  return json_loaded; /* the tree points into the text */
}

json_t *
json_get (const json_t *object, const char *key) {
  if (!object || object->kind != JSON_OBJECT) return NULL;
  for (json_t *j = object->first; j; j = j->next) {
    if (strcmp(j->key, key) == 0) return j;
  }
  return NULL;
}

bool
json_has (const json_t *object, const char *key) {
  return json_get(object, key) != NULL;
}

const char *
json_string (const json_t *object, const char *key) {
  json_t *j = json_get(object, key);
  return j && j->kind == JSON_STRING ? j->string : "";
}

uint32_t
json_u32 (const json_t *object, const char *key) {
  json_t *j = json_get(object, key);
  return j ? (uint32_t) j->number : 0;
}

static int
digit (char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  malformed("hex");
}

size_t
json_hex (const char *hex, uint8_t **bytes) {
  size_t n = strlen(hex) / 2;
  uint8_t *b = malloc(n + 1);
  if (!b) malformed("memory");
  for (size_t i = 0; i < n; i++) b[i] = (uint8_t) (digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  *bytes = b;
  return n;
}
