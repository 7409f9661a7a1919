/* doctor: what this machine and this build are, what is wrong, and what to do about it. */
#include "cmd/commands.h"
#include "cmd/shared_options.h"
#include "kern/cpu.h"
#include "kexa.h"

#include <jansson.h>
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <utf8proc.h>
#include <xxhash.h>

struct doctor_args {
    bool json;
};

static const struct opt doctor_opts[] = {
    O_FLAG("json", 0, offsetof(struct doctor_args, json), "print one JSON object instead"),
    O_END
};

static json_t *bytes_or_null(uint64_t n)
{
    return n == UINT64_MAX ? json_null() : json_integer((json_int_t)n);
}

static void problem(json_t *list, const char *what, const char *remedy)
{
    json_array_append_new(list, json_pack("{s:s, s:s}", "problem", what, "remedy", remedy));
}

static void find_cpu_problems(json_t *list)
{
    if (cpu_level_chosen() == CPU_C)
        problem(list, "only the plain C kernels are used, which are many times slower",
                cpu_level_detect() == CPU_C ? "use a machine with AVX2"
                                            : "unset the environment variable KEXA_CPU");
    else if (cpu_level_chosen() < cpu_level_detect())
        problem(list, "KEXA_CPU keeps kexa below what this machine can run", "unset KEXA_CPU");
}

static void find_other_problems(json_t *list)
{
    const char *named = getenv("KEXA_MODEL");
    uint64_t memory = sys_memory_available();
    if (named && *named && !file_exists(named) && !file_is_dir(named))
        problem(list, "KEXA_MODEL names a file that does not exist", "correct or unset KEXA_MODEL");
    else if (!(named && *named) && !file_exists(default_model_path()))
        problem(list, "no model is set and the default one is not here",
                "let `./go model` fetch it, or name a model with -m or KEXA_MODEL");
    if (memory < (uint64_t)512 << 20)
        problem(list, "less than 512 MiB of memory are free; the default model needs about half "
                "of that", "close something, or raise the limit of the container");
    if (strcmp(nl_langinfo(CODESET), "UTF-8"))
        problem(list, "the locale is not UTF-8, so typing Korean in the chat will go wrong",
                "export LC_ALL=C.UTF-8");
}

/* Everything doctor knows, in the order it is shown; NULL without memory. */
static json_t *examine(void)
{
    char cpu[256];
    sys_cpu_name(cpu, sizeof cpu);
    json_t *problems = json_array();
    find_cpu_problems(problems);
    find_other_problems(problems);
    double quota = sys_cpu_quota();
    const char *named = getenv("KEXA_MODEL"), *model = named && *named ? named
                                                                       : default_model_path();
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:s, s:b, s:{s:s, s:s, s:i}, s:n, s:s, s:o}",
        "version", KEXA_VERSION, "compiler", __VERSION__, "cpu", cpu,
        "cpu_level", cpu_level_name(cpu_level_chosen()), "cpu_level_why", cpu_level_why(),
        "cpus", sys_cpus(), "cpu_quota", isfinite(quota) ? json_real(quota) : json_null(),
        "memory_available_bytes", bytes_or_null(sys_memory_available()),
        "memory_limit_bytes", bytes_or_null(sys_memory_limit()),
        "model", model, "model_present", file_exists(model) || file_is_dir(model),
        "libraries", "jansson", jansson_version_str(), "utf8proc", utf8proc_version(),
        "xxhash", XXH_VERSION_NUMBER, "gpu", "locale", nl_langinfo(CODESET),
        "problems", problems);
}

static void print_value(const char *key, const json_t *v)
{
    const char *suffix = strstr(key, "_bytes");
    int len = suffix ? (int)(suffix - key) : (int)strlen(key);
    char name[64];
    snprintf(name, sizeof name, "%.*s", len, key);
    for (char *c = name; *c; c++)
        if (*c == '_')
            *c = ' ';
    printf("%-18s", name);
    if (json_is_string(v))
        printf("%s\n", json_string_value(v));
    else if (suffix && json_is_integer(v))
        printf("%.2f GiB\n", (double)json_integer_value(v) / 0x1p30);
    else if (json_is_integer(v))
        printf("%lld\n", (long long)json_integer_value(v));
    else if (json_is_real(v))
        printf("%.2f\n", json_real_value(v));
    else
        printf("%s\n", json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "none");
}

static void print_report(json_t *report)
{
    const char *key, *name;
    json_t *value, *v;
    size_t i;
    json_object_foreach(report, key, value) {
        if (json_is_object(value)) {
            json_object_foreach(value, name, v)
                print_value(name, v);
        } else if (!json_is_array(value)) {
            print_value(key, value);
        }
    }
    json_t *problems = json_object_get(report, "problems");
    printf("\n%s\n", json_array_size(problems) ? "Problems:" : "No problems.");
    json_array_foreach(problems, i, v)
        printf("- %s\n  to do: %s\n", json_string_value(json_object_get(v, "problem")),
               json_string_value(json_object_get(v, "remedy")));
}

static bool run_doctor(const void *args, const struct operands *rest, struct err *err)
{
    const struct doctor_args *a = args;
    (void)rest;
    setlocale(LC_CTYPE, "");
    json_t *report = examine();
    if (!report)
        return fail(err, ERR_MEMORY, "no memory for doctor's report");
    if (a->json) {
        json_dumpf(report, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_report(report);
    }
    json_decref(report);
    return true;
}

static const struct example examples[] = {
    { "kexa doctor", "shows the machine, the build and what could be better" },
    { "kexa doctor --json", "the same for a script or a bug report" },
    { NULL, NULL }
};

static const struct opt_group groups[] = {
    { "Options", doctor_opts, 0 },
    { NULL, NULL, 0 }
};

const struct command doctor_command = {
    "doctor", "examine this machine and this build", NULL, 0, 0,
    "Prints the CPU level that was chosen and why, the CPUs and memory this process may use, "
    "where the model is, the libraries, and every problem found with what to do about it.  The "
    "exit status is 0 also when there are problems.",
    examples, groups, sizeof(struct doctor_args), run_doctor
};
