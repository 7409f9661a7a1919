/*
 * report_style: the report's style sheet and script, lines of text that end with NULL.
 */
#ifndef KEXA_TRAIN_REPORT_STYLE_H
#define KEXA_TRAIN_REPORT_STYLE_H

extern const char *const report_style[], *const report_script[];

#endif
