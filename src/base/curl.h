/* libcurl, loaded when it is first used: it brings twenty-five libraries along, which are 4 MB and
 * half of the start of an agent that may never make a request.
 *
 * The functions are called as curl.easy_init() for curl_easy_init(), once curl_load succeeded. */
#pragma once

#include <curl/curl.h>
#include <stdbool.h>

#include "base/error.h"

#define CURL_FUNCTIONS(each)                                                                \
    each(easy_cleanup) each(easy_getinfo) each(easy_init) each(easy_perform)                \
        each(easy_setopt) each(easy_strerror) each(global_init) each(multi_add_handle)      \
            each(multi_assign) each(multi_cleanup) each(multi_info_read) each(multi_init)   \
                each(multi_remove_handle) each(multi_setopt) each(multi_socket_action)      \
                    each(slist_append) each(slist_free_all)

#define CURL_MEMBER(name) __typeof__(curl_##name) *name;
struct curl_functions {
    CURL_FUNCTIONS(CURL_MEMBER)
};
#undef CURL_MEMBER

extern struct curl_functions curl;

/* Before any thread but the main one needs it. Cheap when it is loaded. */
bool curl_load(struct error *error);
