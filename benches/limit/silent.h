/* Connections that send nothing: opened at a given rate, then watched until the server ends them.
 *
 * Silence is counted from the moment before connect(): the server can only have accepted later. So
 * a server that never ends a connection early cannot come out below its deadline, and lateness is
 * never understated. */
#ifndef SILENT_H
#define SILENT_H

#include "generator.h"

extern struct silence {
    struct connection *all;
    uint32_t count, rate;         /* how many, and how many of them are opened in a second */
    uint32_t opened, fins;        /* so far; ended by a bare FIN */
    uint32_t others, slow;        /* ended by anything else; handshakes that took over 100 ms */
    uint64_t opening, opened_all; /* when the first may be opened; when all were open */
    uint64_t first_fin, last_fin; /* when they came */
    uint64_t shortest, longest;   /* silence that ended with a FIN */
    void (*on_fin)(const struct connection *, uint64_t time); /* may be NULL */
} silence;

/* Allocates them and takes over `on_open` and `on_event`. */
void prepare_silence(uint32_t count, uint32_t rate, uint64_t opening);
/* Opens those that are due by now. */
void open_due_silence(uint64_t time);
/* Members of a JSON object, each with a comma behind it. */
void print_silence(void);

#endif
