#include "text/json.h"
