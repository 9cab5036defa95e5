/* The ports of an agent: HTTP, HTTPS, gRPC and gRPC with TLS, on every address that each is to be
 * served on (client_addr may name several; `addresses` overrules it per protocol). */
#pragma once

#include "agent/config.h"
#include "net/grpc.h"
#include "net/http_server.h"
#include "net/tls.h"

struct listeners {
    struct http_server *http;
    struct grpc_server *grpc; /* plaintext */
    struct grpc_server *grpc_tls;
};

/* Opens what the configuration asks for on servers that exist. Every port that can't be opened is
 * an error of its own. */
void listeners_open(const struct listeners *listeners, const struct agent_config *config,
                    struct tls_context *https_tls, struct tls_context *grpc_tls,
                    struct text_list *errors);
