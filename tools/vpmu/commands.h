/* SPDX-License-Identifier: MIT */
/* The subcommands: each gets its own arguments and returns the exit status. */
#ifndef VPMU_TOOLS_COMMANDS_H
#define VPMU_TOOLS_COMMANDS_H

int vpmu_run(int argc, char **argv);
int vpmu_play(int argc, char **argv);
int vpmu_caps(int argc, char **argv);

#endif /* VPMU_TOOLS_COMMANDS_H */
