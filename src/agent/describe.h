/* What /v1/agent/self tells of an agent. */
#pragma once

#include "agent/config.h"
#include "base/buffer.h"
#include "store/store.h"

/* Appends JSON members, without braces around them. */
void describe_agent(const struct agent_config *config, const char *node_id, struct store *store,
                    struct buffer *output);
