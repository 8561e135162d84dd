/* kapbench.h - the verbs of kapbench. Each gets the arguments after its name and returns an exit code. */
#pragma once

int kapbench_gen(int argc, char **argv);
int kapbench_run(int argc, char **argv);
