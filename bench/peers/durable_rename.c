/*
 * Makes rename durable for a program that flushes its files and not their names: loaded before libc (LD_PRELOAD), it
 * flushes the directory of the new name before rename returns. Haraka writes each queue file under another name, flushes
 * it, renames it and answers 250; on most file systems a power cut at that moment may lose the name.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int rename(const char *from, const char *to)
{
    static int (*next)(const char *, const char *);
    if (next == NULL)
        next = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    int result = next(from, to);
    if (result != 0)
        return result;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", to);
    int directory = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return -1;
    result = fsync(directory);
    close(directory);
    return result;
}
