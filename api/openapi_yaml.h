/* SPDX-License-Identifier: Apache-2.0 */
/* The file openapi.yaml, as it was when the binary was built. */
#ifndef KEYREST_API_OPENAPI_YAML_H
#define KEYREST_API_OPENAPI_YAML_H

#include "../engine/bytes.h"

struct bytes openapi_yaml(void);

#endif
