/* The envelope of a peering stream: each message that a session writes, and the checks of those it
 * reads (peering-protocol 8.1, 8.4). Writers append one ReplicationMessage to `output`. */
#pragma once

#include "base/buffer.h"
#include "net/grpc.h"
#include "peering/resource.h"

void message_open(struct buffer *output, const char *peer_id, const char *secret,
                  const Pb__RemoteInfo *remote);
void message_subscribe(struct buffer *output, const char *peer_id, const char *url);
/* ACK if `code` is GRPC_OK, else NACK. */
void message_answer(struct buffer *output, const char *url, const char *nonce, enum grpc_code code,
                    const char *text);
/* `encoded`: the payload's bytes. */
void message_response(struct buffer *output, const char *nonce, const char *url, const char *id,
                      const struct buffer *encoded);
void message_heartbeat(struct buffer *output);
void message_terminated(struct buffer *output);
/* Fresh memory. */
char *message_upsert_error(const char *url, const char *id, const char *cause);

const Ps__ReplicationMessage *message_read(const uint8_t *data, size_t length, struct arena *arena,
                                           struct error *error);
/* The rules for a type's first Request, with Consul's words. */
bool message_check_subscription(const Ps__Request *request, bool dialer, const char *peer_id,
                                struct error *error);
/* The decoded payload, or NULL with what the NACK says. Of the error's codes, ERR_INVALID stands
 * for gRPC's InvalidArgument and ERR_INTERNAL for its Internal. */
void *message_read_response(const Ps__Response *response, struct arena *arena,
                            enum resource *ret_resource, struct error *error);
