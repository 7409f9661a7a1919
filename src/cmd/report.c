/* report: what a training run did, as one HTML file. */
#include "cmd/commands.h"
#include "train/train.h"

struct report_args {
    const char *out;
};

static bool run_report(const void *args, const struct operands *rest, struct err *err)
{
    const struct report_args *a = args;
    if (!run_report_write(rest->at[0], a->out, err))
        return false;
    if (a->out)
        puts(a->out);
    else
        printf("%s/report.html\n", rest->at[0]);
    return true;
}

static const struct opt report_opts[] = {
    O_TEXT("out", 'o', offsetof(struct report_args, out), NULL, "FILE",
           "where to write it; without this report.html in the run's folder"),
    O_END
};

static const struct opt_group groups[] = {
    { "Options", report_opts, 0 },
    { NULL, NULL, 0 }
};

static const struct example examples[] = {
    { "kexa report runs/nano", "writes runs/nano/report.html and prints its name" },
    { NULL, NULL }
};

const struct command report_command = {
    "report", "show what a training run did", "RUN", 1, 1,
    "Reads the log of a run (the folder that training wrote, or writes: it may still be going on) "
    "and draws loss, bits per byte on held-out text, learning rate, gradient norm, experts, speed "
    "and operations, with samples, recipe and machine, into one HTML file that needs no network.",
    examples, groups, sizeof(struct report_args), run_report
};
