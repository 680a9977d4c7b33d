/* The floor: what one cannot be faster than with one process for each job, or with one process for all.
 *
 *     floor processes|single PORT JOBS FIRST PERIOD SECRET
 *
 * Opens JOBS connections to 127.0.0.1:PORT, prints "ready", and from the epoch second FIRST, every PERIOD seconds,
 * sends one request on each: clock_nanosleep to the instant, one send, one read of the reply. "processes" forks
 * one process for each job; "single" sends them all in one loop and then reads the replies: the fastest that
 * requests can be thrown at the sink. Default priority, default timer slack (50 us). Runs until it is killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int port;

static int connected(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) err(1, "cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int request(char *into, size_t size, int job, const char *secret) {
    return snprintf(into, size, "POST /job/%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nx-cron-secret: %s\r\nContent-Length: 0\r\n\r\n", job, port, secret);
}

static void sleep_until(time_t second) {
    struct timespec at = {second, 0};
    while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, NULL)) {}
}

static void say(int fd, const char *text, int length) {
    if (send(fd, text, (size_t)length, MSG_NOSIGNAL) != length) err(1, "cannot send");
}

static void hear(int fd) {
    char reply[1024]; /* the sink's reply is one segment */
    if (read(fd, reply, sizeof reply) <= 0) err(1, "cannot read");
    if (strncmp(reply, "HTTP/1.1 200", 12)) errx(1, "the sink refused");
}

int main(int count, char **words) {
    if (count != 7) errx(2, "usage: floor processes|single PORT JOBS FIRST PERIOD SECRET");
    port = atoi(words[2]);
    int jobs = atoi(words[3]), up[2];
    time_t first = atol(words[4]), period = atol(words[5]);
    const char *secret = words[6];
    char text[512];
    if (!strcmp(words[1], "single")) {
        int *fds = calloc((size_t)jobs, sizeof *fds), *lengths = calloc((size_t)jobs, sizeof *lengths);
        char(*texts)[512] = calloc((size_t)jobs, sizeof *texts);
        if (!fds || !lengths || !texts) err(1, "no memory");
        for (int job = 0; job < jobs; job++) {
            fds[job] = connected();
            lengths[job] = request(texts[job], sizeof texts[job], job, secret);
        }
        puts("ready");
        fflush(stdout);
        for (time_t due = first;; due += period) {
            sleep_until(due);
            for (int job = 0; job < jobs; job++) say(fds[job], texts[job], lengths[job]);
            for (int job = 0; job < jobs; job++) hear(fds[job]);
        }
    }
    if (pipe(up)) err(1, "cannot make a pipe");
    pid_t parent = getpid();
    for (int job = 0; job < jobs; job++) {
        pid_t child = fork();
        if (child < 0) err(1, "cannot fork");
        if (child) continue;
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) return 1;
        int fd = connected(), length = request(text, sizeof text, job, secret);
        if (write(up[1], "", 1) != 1) err(1, "cannot report");
        close(up[0]);
        close(up[1]);
        for (time_t due = first;; due += period) {
            sleep_until(due);
            say(fd, text, length);
            hear(fd);
        }
    }
    close(up[1]);
    for (int job = 0; job < jobs; job++)
        if (read(up[0], text, 1) != 1) errx(1, "a process did not come up");
    puts("ready");
    fflush(stdout);
    wait(NULL);
    errx(1, "a process ended");
}
