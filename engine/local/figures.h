/* SPDX-License-Identifier: Apache-2.0 */
/* What an open store tells of itself. Any thread, in every state; never waits for the disk. */
#ifndef KEYREST_ENGINE_LOCAL_FIGURES_H
#define KEYREST_ENGINE_LOCAL_FIGURES_H

#include "local_parts.h"

/* As engine_health() and engine_stats(). */
void figures_health(struct local *local, struct engine_health *out_health);
struct stats *figures_stats(struct local *local);

#endif
