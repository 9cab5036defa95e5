#include "catalog/virtual_ip.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/memory.h"
#include "pons/ca.pb-c.h"

#define VIRTUAL_IP_BASE 0xf0000000u
#define VIRTUAL_IP_MAX 0x0ffffffeu /* 255.255.255.255 is not an address */

/* The lowest n from 1 that no record has. With `count` records it is at most count + 1. */
static uint32_t lowest_free(struct txn *txn)
{
    struct buffer value = {0};
    size_t count;
    const struct record *const *list = view_list(txn_view(txn), TABLE_VIRTUAL_IP, VIRTUAL_IP_ALL,
                                                 key_all(&value, &TENANCY_DEFAULT), &count);
    buffer_free(&value);
    bool *taken = mem_array(count + 2, sizeof *taken);
    for (size_t i = 0; i < count; i++) {
        const Pb__VirtualIp *ip = list[i]->message;
        struct in_addr address;
        if (inet_pton(AF_INET, ip->address, &address) != 1)
            continue;
        uint32_t number = ntohl(address.s_addr) - VIRTUAL_IP_BASE;
        if (number <= count)
            taken[number] = true;
    }
    uint32_t number = 1;
    while (taken[number])
        number++;
    free(taken);
    return number;
}

const char *virtual_ip_need(struct txn *txn, const struct tenancy *tenancy, const char *service,
                            struct arena *arena, struct error *error)
{
    struct buffer key = {0};
    const struct record *record =
        view_get(txn_view(txn), TABLE_VIRTUAL_IP, key_named(&key, tenancy, service));
    buffer_free(&key);
    if (record != NULL)
        return ((const Pb__VirtualIp *)record->message)->address;
    uint32_t number = lowest_free(txn);
    if (number > VIRTUAL_IP_MAX) {
        error_set(error, ERR_EXHAUSTED, "no virtual address is left for service \"%s\"", service);
        return NULL;
    }
    struct in_addr address = {htonl(VIRTUAL_IP_BASE + number)};
    char *text = arena_alloc(arena, INET_ADDRSTRLEN);
    inet_ntop(AF_INET, &address, text, INET_ADDRSTRLEN);
    Pb__VirtualIp ip = PB__VIRTUAL_IP__INIT;
    ip.service = (char *)service;
    ip.address = text;
    if (tenancy->peer != NULL)
        ip.peer_name = (char *)tenancy->peer;
    if (tenancy->namespace != NULL)
        ip.namespace_ = (char *)tenancy->namespace;
    if (tenancy->partition != NULL)
        ip.partition = (char *)tenancy->partition;
    txn_put(txn, TABLE_VIRTUAL_IP, &ip);
    return text;
}

void virtual_ip_release(struct txn *txn, const struct tenancy *tenancy, const char *service)
{
    struct buffer key = {0};
    size_t count;
    view_list(txn_view(txn), TABLE_SERVICE, SERVICE_BY_CONNECT, key_named(&key, tenancy, service),
              &count);
    if (count == 0)
        txn_delete(txn, TABLE_VIRTUAL_IP, &key); /* it has the same key */
    buffer_free(&key);
}
