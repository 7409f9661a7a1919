/* interrupt: Ctrl-C (a polite kill, a lost terminal) as a flag, for commands that must clean up. */
#ifndef KEXA_CMD_INTERRUPT_H
#define KEXA_CMD_INTERRUPT_H

/* From now on SIGINT and SIGTERM set the flag this returns, instead of ending the program; a
 * second one ends it at once.  So does SIGHUP, unless it is ignored (nohup). */
const volatile int *interrupt_catch(void);

#endif
