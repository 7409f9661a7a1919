#include "format/cursor.h"
#include "format/npy.h"
#include "format/show.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * "\x93NUMPY", u8 major, u8 minor, u16 header length, then the header: a Python dict
 * literal, {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, with spaces to
 * a multiple of 64 and a line end; then the data.
 */
enum { NPY_FRONT = 10 };

/* The text right after 'key': in the header; NULL if it is not there. */
static const char *value_of(const char *head, const char *key)
{
    const char *at = strstr(head, key);
    if (!at)
        return NULL;
    at += strlen(key);
    while (*at == ' ' || *at == ':')
        at++;
    return at;
}

static bool read_descr(struct npy *a, const char *head)
{
    const char *descr = value_of(head, "'descr'");
    static const char *const known[] = { "f4", "f8", "i4", "i8", "u4", "u2" };
    for (size_t i = 0; descr && i < sizeof known / sizeof *known; i++) {
        if (!strncmp(descr, "'<", 2) && !strncmp(descr + 2, known[i], 2) && descr[4] == '\'') {
            memcpy(a->dtype, known[i], 3);
            return true;
        }
    }
    return false;
}

/* (), (5,), (2, 3): at most 8 axes. */
static bool read_shape(struct npy *a, const char *head)
{
    const char *at = value_of(head, "'shape'");
    if (!at || *at++ != '(')
        return false;
    a->n_elements = 1;
    for (;;) {
        at += strspn(at, " ,");
        if (*at == ')')
            return true;
        char *end;
        if (*at < '0' || *at > '9' || a->n_dims == 8)
            return false;
        a->shape[a->n_dims] = strtoull(at, &end, 10);
        if (a->shape[a->n_dims] > INT64_MAX ||
            !mul_u64(a->n_elements, a->shape[a->n_dims++], &a->n_elements))
            return false;
        at = end;
    }
}

static bool read_head(struct npy *a, const char *head, const char *path, struct err *err)
{
    const char *order = value_of(head, "'fortran_order'");
    if (!read_descr(a, head))
        return fail(err, ERR_UNSUPPORTED, "%s: the elements are none of <f4 <f8 <i4 <i8 <u4 <u2: "
                    "%s", path, SHOW(bytes_of(head)));
    if (!order || strncmp(order, "False", 5))
        return fail(err, ERR_UNSUPPORTED, "%s: the array is not in C order; save it through "
                    "numpy.ascontiguousarray()", path);
    if (!read_shape(a, head))
        return fail(err, ERR_FORMAT, "%s: the shape makes no sense: %s", path,
                    SHOW(bytes_of(head)));
    return true;
}

static bool read_file(struct npy *a, const char *path, struct err *err)
{
    struct bytes f = a->file;
    const char *kind = show_kind(f);
    if (f.len < NPY_FRONT || memcmp(f.at, "\x93NUMPY", 6))
        return fail(err, ERR_FORMAT, "%s: expected a .npy file%s%s", path,
                    kind ? ", but this is " : "", kind ? kind : "");
    if (f.at[6] != 1)
        return fail(err, ERR_UNSUPPORTED, "%s: .npy version %u, expected 1", path, f.at[6]);
    size_t len = (size_t)number_at(f.at + 8, 2);
    if (len > f.len - NPY_FRONT)
        return fail(err, ERR_FORMAT, "%s: the file ends inside its header", path);
    char *head = mem_copy_text((const char *)f.at + NPY_FRONT, len);
    bool ok = head ? read_head(a, head, path, err)
                   : fail(err, ERR_MEMORY, "%s: out of memory for its header", path);
    mem_give(head);
    if (!ok)
        return false;
    uint64_t n_bytes, rest = f.len - NPY_FRONT - len;
    if (!mul_u64(a->n_elements, (uint64_t)(a->dtype[1] - '0'), &n_bytes) || n_bytes != rest)
        return fail(err, ERR_FORMAT, "%s: %llu elements of %s, but %llu bytes of data", path,
                    (unsigned long long)a->n_elements, a->dtype, (unsigned long long)rest);
    a->data = f.at + NPY_FRONT + len;
    return true;
}

bool npy_open(struct npy *out, const char *path, struct err *err)
{
    struct npy a = { 0 };
    if (!file_map_open(&a.file, path, err))
        return false;
    if (!read_file(&a, path, err)) {
        npy_close(&a);
        return false;
    }
    *out = a;
    return true;
}

void npy_close(struct npy *a)
{
    file_map_close(&a->file);
    *a = (struct npy){ 0 };
}
