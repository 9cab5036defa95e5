/* An agent from start to end: `pons agent`. */
#pragma once

#include "agent/config.h"

/* Runs until a signal ends it. Returns the exit code; everything that went wrong was told on
 * stderr. */
int agent_run(const struct agent_sources *sources);
