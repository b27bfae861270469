/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the parts of the engine send their events: engine_options.on_event, as given at open.
 */
#ifndef KEYREST_ENGINE_LOCAL_EVENT_SINK_H
#define KEYREST_ENGINE_LOCAL_EVENT_SINK_H

#include "../engine.h"

struct event_sink {
    void (*on_event)(void *context, const struct engine_event *event); /* may be NULL */
    void *context;
};

static inline void event_tell(const struct event_sink *sink, struct engine_event event)
{
    if (sink->on_event != NULL)
        sink->on_event(sink->context, &event);
}

#endif
