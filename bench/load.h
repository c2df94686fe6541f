/* The load of the benchmarks echo, idle and http: a generator in this process, a server in another one. */
#ifndef ROTA_BENCH_LOAD_H
#define ROTA_BENCH_LOAD_H

/* Starts the server (n words, and one more: the bytes of its buffers), which prints "port N" and answers until killed;
 * loads it as the scenario says, and returns the cost of one request: CPU time, system calls, share of CPU in user
 * mode, or memory of a connection. */
double load_run(const char *scenario, char **server, int n);

/* The servers of this program: floor, rota, callbacks. Does not return unless it fails. */
int load_serve(const char *row, long bytes);

/* Those of HTTP: floor, rota. */
int http_serve(const char *row);

#endif
