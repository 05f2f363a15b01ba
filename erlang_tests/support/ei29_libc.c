/* SPDX-License-Identifier: Apache-2.0 */
/* OTP 29's libei comes from a newer Debian and asks for names of its libc; this one's do the same for what ei reads. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int __isoc23_sscanf(const char *text, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int count = vsscanf(text, format, arguments);
  va_end(arguments);
  return count;
}

long __isoc23_strtol(const char *text, char **end, int base) { return strtol(text, end, base); }
