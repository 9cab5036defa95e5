#include "text/hcl.h"
