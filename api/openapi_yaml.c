/* SPDX-License-Identifier: Apache-2.0 */
/* The assembler includes the file; the path is relative to the repository's root, where make runs.
 */
#include "openapi_yaml.h"

__asm__(".section .rodata\n"
        "openapi_yaml_begin: .incbin \"openapi.yaml\"\n"
        "openapi_yaml_end:\n"
        ".previous\n");

extern const char openapi_yaml_begin[], openapi_yaml_end[];

struct bytes openapi_yaml(void)
{
    return (struct bytes){openapi_yaml_begin, (size_t)(openapi_yaml_end - openapi_yaml_begin)};
}
