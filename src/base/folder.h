/*
 * folder: folders that are made with all above them, and removed again.
 */
#ifndef KEXA_BASE_FOLDER_H
#define KEXA_BASE_FOLDER_H

#include "base/err.h"

/*
 * Makes a folder and those above it that are missing, with this mode less the umask; one that
 * is there already is fine.  *n_made (or NULL): how many were made, for folder_unmake().
 * ERR_USAGE: the name is empty or too long, or something that is no folder is in the way, which
 * is named; ERR_IO: the system refuses.  Then nothing that was made stays.
 */
bool folder_make(const char *path, unsigned mode, size_t *n_made, struct err *err);

/* The same for the folder that a file is to lie in. */
bool folder_make_above(const char *file, unsigned mode, struct err *err);

/* Takes back what folder_make() made, innermost first, up to the first that is not empty; one
 * that is gone already counts as taken back. */
void folder_unmake(const char *path, size_t n_made);

/* Removes a folder of plain files; one with more in it stays. */
void folder_remove(const char *folder);

#endif
