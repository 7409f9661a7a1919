/*
 * run_report: what a run did, as one HTML file that needs nothing but itself: no network, no
 * other file, readable without its script.
 */
#ifndef KEXA_TRAIN_RUN_REPORT_H
#define KEXA_TRAIN_RUN_REPORT_H

#include "base/base.h"

/*
 * Reads OUT/log.jsonl and writes html_path (NULL: OUT/report.html), atomically.  A log with torn
 * lines gives a report that says so; one without a step is refused.  Curves have at most 2,000
 * points, with the lowest and highest of what a point stands for.
 */
bool run_report_write(const char *out_dir, const char *html_path, struct err *err);

#endif
