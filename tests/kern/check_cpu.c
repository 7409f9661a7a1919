#include "checkkern.h"

#include <string.h>

/* Levels and their names, and a table without holes. */
void check_cpu(struct tester *t)
{
    enum cpu_level level = CPU_AVX2;
    t_case(t, "level %s", cpu_level_name(t->level));
    t_true(t, cpu_level_parse(cpu_level_name(t->level), &level) && level == t->level,
           "a level's name parses to the level");
    level = CPU_AVX2;
    t_true(t, !cpu_level_parse("avx", &level) && !cpu_level_parse("", &level) &&
              !cpu_level_parse("AVX512", &level) && level == CPU_AVX2,
           "other text is refused and changes nothing");
    t_true(t, cpu_level_chosen() <= cpu_level_detect(), "no more is chosen than there is");
    t_true(t, strstr(cpu_level_why(), cpu_level_name(cpu_level_detect())) != NULL,
           "the reason names the level");
#define X(op) t_true(t, t->k->op != NULL, #op " is in the table");
    KERNELS(X)
#undef X
}
