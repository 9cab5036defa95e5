/* Which versions speak: Pons' own is PONS_VERSION, from the build. */
#pragma once

/* The Consul version whose behaviour Pons has: where tools parse one. */
#define CONSUL_VERSION "1.21.4"
