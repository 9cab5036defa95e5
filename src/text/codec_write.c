#include "text/codec.h"
