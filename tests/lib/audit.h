/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A quiet store looked at as a whole: what memory believes is counted again from tables and
 * memtables. Fails the test where they differ. One thread, nothing else under way.
 */
#ifndef KEYREST_TESTS_LIB_AUDIT_H
#define KEYREST_TESTS_LIB_AUDIT_H

#include "parts.h"

/*
 * Every key's place names its newest version; no key is missing or has one too many; the live
 * counts of every table, and the count of keys, are exact; every table's index agrees with its
 * records and its properties with both; the tables in the view, in the manifest and in the
 * directory are the same.
 */
void audit(struct parts *parts);

/* The same without the directory: after an edit whose end is unknown, or with strays left. */
void audit_memory(struct parts *parts);

#endif
