/* Registration of a mesh gateway by `connect envoy -register` (xds.md 5.3). */
#pragma once

#include "base/text.h"
#include "cli/cli.h"

struct gateway_flags {
    const char *service, *address, *wan_address, *deregister_after_critical;
    struct text_list bind_addresses; /* name=ip:port */
    bool expose_servers;
};

/* The id it was registered under, borrowed from the arguments; NULL: cli->error says why not. */
const char *gateway_register(struct cli *cli, const struct gateway_flags *flags,
                             const char *proxy_id);
