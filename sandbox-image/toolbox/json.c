#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "toolbox.h"

typedef struct {
  char *at;
  char *end;
} cursor;

static void skip_space(cursor *c) {
  while (c->at < c->end && strchr(" \t\r\n", *c->at) != NULL && *c->at != 0) c->at++;
}

static bool take(cursor *c, char wanted) {
  skip_space(c);
  if (c->at >= c->end || *c->at != wanted) return false;
  c->at++;
  return true;
}

static int hex4(const char *at) {
  int value = 0;
  for (int i = 0; i < 4; i++) {
    char d = at[i];
    int digit = d >= '0' && d <= '9' ? d - '0' : d >= 'a' && d <= 'f' ? d - 'a' + 10 : d >= 'A' && d <= 'F' ? d - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

static char *put_utf8(char *to, uint32_t code) {
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
    *to++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *to++ = (char)(0xe0 | code >> 12);
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  } else {
    *to++ = (char)(0xf0 | code >> 18);
    *to++ = (char)(0x80 | (code >> 12 & 0x3f));
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  }
  return to;
}

// After "\u": the code point, pairs of surrogates joined, lone ones replaced; -1 when it is no hex.
static int64_t take_unicode(cursor *c) {
  if (c->end - c->at < 4) return -1;
  int first = hex4(c->at);
  if (first < 0) return -1;
  c->at += 4;
  if (first < 0xd800 || first > 0xdfff) return first;
  if (first < 0xdc00 && c->end - c->at >= 6 && c->at[0] == '\\' && c->at[1] == 'u') {
    int second = hex4(c->at + 2);
    if (second >= 0xdc00 && second <= 0xdfff) {
      c->at += 6;
      return 0x10000 + ((int64_t)(first - 0xd800) << 10) + (second - 0xdc00);
    }
  }
  return 0xfffd;
}

// Unescapes in place: the result is never longer than its source, and the closing quote leaves room for the NUL.
static bool take_string(cursor *c, char **out) {
  if (!take(c, '"')) return false;
  char *to = c->at;
  *out = to;
  while (c->at < c->end) {
    char ch = *c->at++;
    if (ch == '"') {
      *to = 0;
      return true;
    }
    if (ch == 0) return false;
    if (ch != '\\') {
      *to++ = ch;
      continue;
    }
    if (c->at >= c->end) return false;
    char escape = *c->at++;
    static const char names[] = "bfnrt\"\\/", values[] = "\b\f\n\r\t\"\\/";
    const char *found = escape == 0 ? NULL : strchr(names, escape);
    if (found != NULL) {
      *to++ = values[found - names];
    } else if (escape == 'u') {
      int64_t code = take_unicode(c);
      // A NUL would silently cut a path or a command.
      if (code <= 0) return false;
      to = put_utf8(to, (uint32_t)code);
    } else {
      return false;
    }
  }
  return false;
}

static bool take_list(cursor *c, field *into) {
  if (!take(c, '[')) return false;
  size_t count = 0;
  if (take(c, ']')) return true;
  do {
    if (count >= ITEMS_MAX || !take_string(c, &into->items[count++])) return false;
  } while (take(c, ','));
  into->items[count] = NULL;
  return take(c, ']');
}

static bool take_word(cursor *c, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return false;
  c->at += length;
  return true;
}

static bool take_value(cursor *c, field *into) {
  skip_space(c);
  if (c->at >= c->end) return false;
  if (*c->at == '"') {
    into->type = FIELD_STRING;
    return take_string(c, (char **)&into->text);
  }
  if (*c->at == '[') {
    into->type = FIELD_LIST;
    return take_list(c, into);
  }
  if (*c->at == 't' || *c->at == 'f') {
    into->type = FIELD_BOOL;
    into->number = *c->at == 't';
    return take_word(c, into->number ? "true" : "false");
  }
  into->type = FIELD_NUMBER;
  char *after = NULL;
  errno = 0;
  into->number = strtoll(c->at, &after, 10);
  if (after == c->at || after > c->end || errno != 0) return false;
  c->at = after;
  return true;
}

bool json_parse(char *text, size_t length, object *out) {
  memset(out, 0, sizeof *out);
  cursor c = {text, text + length};
  if (!take(&c, '{')) return false;
  if (!take(&c, '}')) {
    do {
      if (out->count >= FIELDS_MAX) return false;
      field *into = &out->fields[out->count++];
      if (!take_string(&c, (char **)&into->name) || !take(&c, ':') || !take_value(&c, into)) return false;
    } while (take(&c, ','));
    if (!take(&c, '}')) return false;
  }
  skip_space(&c);
  return c.at == c.end;
}

static const field *find(const object *from, const char *name, field_type type) {
  for (size_t i = 0; i < from->count; i++)
    if (from->fields[i].type == type && strcmp(from->fields[i].name, name) == 0) return &from->fields[i];
  return NULL;
}

const char *json_text(const object *from, const char *name) {
  const field *found = find(from, name, FIELD_STRING);
  return found == NULL ? NULL : found->text;
}

int64_t json_number(const object *from, const char *name, int64_t otherwise) {
  const field *found = find(from, name, FIELD_NUMBER);
  if (found == NULL) found = find(from, name, FIELD_BOOL);
  return found == NULL ? otherwise : found->number;
}

char **json_list(const object *from, const char *name) {
  const field *found = find(from, name, FIELD_LIST);
  return found == NULL ? NULL : (char **)found->items;
}
