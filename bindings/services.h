/* services.h - the tables of operations, one for each service.
 *
 * Adding a service: a table here, a client in scripts/lib, and its name in bindings/ops.c.
 */
#ifndef PERIGEE_BINDINGS_SERVICES_H
#define PERIGEE_BINDINGS_SERVICES_H

#include "host/ops.h"

extern const struct ops_service deai_service;
extern const struct ops_service sxwl_service;

#endif
