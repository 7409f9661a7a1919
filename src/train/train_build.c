#include "train/train_build.h"

#include "kexa.h"

#include <inttypes.h>
#include <link.h>
#include <stdio.h>
#include <unistd.h>

struct own_code {
    uintptr_t inside;                     /* an address of this code */
    uint64_t hash;
};

/* Executable segments of the object that `inside` lies in: read-only, never relocated. */
static int hash_object(struct dl_phdr_info *o, size_t n_bytes, void *arg)
{
    struct own_code *own = arg;
    bool mine = false;
    uint64_t h = 0;
    (void)n_bytes;
    for (size_t i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *s = &o->dlpi_phdr[i];
        uintptr_t at = o->dlpi_addr + s->p_vaddr;
        if (s->p_type != PT_LOAD || !(s->p_flags & PF_X))
            continue;
        h = hash_bytes((struct bytes){ (const uint8_t *)at, s->p_filesz }, h);
        mine |= own->inside >= at && own->inside - at < s->p_filesz;
    }
    own->hash = mine ? h : own->hash;
    return mine;
}

void train_build_name(char out[TRAIN_BUILD_MAX])
{
    struct own_code own = { .inside = (uintptr_t)train_build_name };
    char libc[40] = "";
    dl_iterate_phdr(hash_object, &own);
    confstr(_CS_GNU_LIBC_VERSION, libc, sizeof libc);
    snprintf(out, TRAIN_BUILD_MAX, "kexa %s, code %016" PRIx64 ", %s", KEXA_VERSION, own.hash,
             libc);
}
