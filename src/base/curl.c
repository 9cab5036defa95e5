#include "base/curl.h"

#include <dlfcn.h>

#define LIBRARY "libcurl.so.4"

struct curl_functions curl;

static bool find(void *library, const char *name, void **ret_function)
{
    *ret_function = dlsym(library, name);
    return *ret_function != NULL;
}

bool curl_load(struct error *error)
{
    static bool loaded;
    if (loaded)
        return true;
    void *library = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);
    if (library == NULL)
        return error_set(error, ERR_UNAVAILABLE,
                         "HTTP requests need " LIBRARY
                         " (Debian: libcurl4), which cannot be loaded: %s",
                         dlerror());
#define CURL_FIND(name) ok = ok && find(library, "curl_" #name, (void **)&curl.name);
    bool ok = true;
    CURL_FUNCTIONS(CURL_FIND)
#undef CURL_FIND
    if (!ok) {
        error_set(error, ERR_UNAVAILABLE, "HTTP requests need a newer " LIBRARY ": %s", dlerror());
        dlclose(library);
        return false;
    }
    loaded = true;
    return true;
}
