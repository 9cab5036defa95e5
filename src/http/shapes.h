/* Stored messages as some routes show them: other names, another order, other blanks. Consul has
 * several Go structs for one service instance; here each is a codec table derived from the
 * message's own. */
#pragma once

#include "text/filter.h"

void shapes_prepare(void); /* before anything else here; may be called again */

extern struct codec_message shape_agent_service;   /* Pb__NodeService in /v1/agent/services */
extern struct codec_message shape_catalog_node;    /* Pb__Node in /v1/catalog/service */
extern struct codec_message shape_catalog_service; /* Pb__NodeService there */
extern struct codec_message shape_member;          /* a Pb__Node that stands for a member */

extern const struct filter_root filter_node, filter_check, filter_health, filter_catalog_service,
    filter_agent_service, filter_member, filter_node_service;
