/* Stands where protoc-c would put the code of options.proto: the options are read when the
 * codec's tables are made, and nothing of them exists at run time. */
#pragma once
