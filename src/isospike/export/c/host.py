"""The host's part of a C program: main.c and its Makefile."""

from string import Template

_MAIN = Template("""\
/* Classifies images: bytes, channels before rows before columns, one image after another.
 *
 *     ./$name [-l] [-s STEPS] [FILE]
 *
 * Reads FILE, or standard input. Prints a line per image: its class, and the steps it took to settle (or STEPS).
 * With -l prints the logits after every step instead, whether settled or not: image, step, settled, logits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "$name.h"

static ${name}_state state;
static uint8_t image[${upper}_PIXELS];
static int32_t logits[${upper}_CLASSES];

static int fail(const char *message)
{
    fprintf(stderr, "$name: %s\\n", message);
    return 2;
}

static void classify(long number, long steps, int show)
{
    long step, best = 0, i;

    ${name}_init(&state, image);
    for (step = 1; step <= steps; ++step) {
        ${name}_step(&state);
        if (show) {
            ${name}_logits(&state, logits);
            printf("%ld %ld %d", number, step, ${name}_is_settled(&state));
            for (i = 0; i < ${upper}_CLASSES; ++i)
                printf(" %ld", (long)logits[i]);
            printf("\\n");
        } else if (${name}_is_settled(&state)) {
            break;
        }
    }
    if (show)
        return;
    ${name}_logits(&state, logits);
    for (i = 1; i < ${upper}_CLASSES; ++i)
        if (logits[i] > logits[best])
            best = i;
    printf("%ld %ld\\n", best, step > steps ? steps : step);
}

int main(int argc, char **argv)
{
    FILE *stream = stdin;
    long steps = ${upper}_T_MAX, number = 0;
    size_t got;
    int show = 0, next = 1;
    char *end;

    for (; next < argc && argv[next][0] == '-'; ++next) {
        if (strcmp(argv[next], "-l") == 0) {
            show = 1;
        } else if (strcmp(argv[next], "-s") == 0 && next + 1 < argc) {
            steps = strtol(argv[++next], &end, 10);
            if (*end != '\\0' || steps < 1 || steps > ${upper}_T_MAX)
                return fail("expected -s with 1 to $t_max steps");
        } else {
            return fail("expected [-l] [-s STEPS] [FILE]");
        }
    }
    if (next < argc && (stream = fopen(argv[next], "rb")) == NULL)
        return fail("the file cannot be opened");
    fprintf(stderr, "$name: state %lu bytes\\n", (unsigned long)sizeof state);
    while ((got = fread(image, 1, sizeof image, stream)) == sizeof image)
        classify(number++, steps, show);
    if (stream != stdin)
        fclose(stream);
    if (got != 0 || number == 0)
        return fail("expected whole images of $pixels bytes, and at least one");
    return 0;
}
""")

_MAKEFILE = Template("""\
CC ?= cc
CFLAGS ?= -O2
STRICT := -std=c99 -Wall -Wextra -Werror -pedantic

$name: $name.o main.o
\t$$(CC) $$(CFLAGS) -o $$@ $name.o main.o

%.o: %.c $name.h
\t$$(CC) $$(STRICT) $$(CFLAGS) -c -o $$@ $$<

.PHONY: clean
clean:
\trm -f $name $name.o main.o
""")


def write_main(names: dict[str, object]) -> str:
    """The text of main.c."""
    return _MAIN.substitute(names)


def write_makefile(name: str) -> str:
    """The text of the Makefile."""
    return _MAKEFILE.substitute(name=name)
