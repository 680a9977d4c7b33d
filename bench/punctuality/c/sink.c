/* The endpoint of the benchmark: an HTTP/1.1 server that writes down when each request was complete.
 *
 *     sink LOG SECRET [CERT KEY]
 *
 * It listens on two free ports of 127.0.0.1 (the second speaks TLS, when there is a certificate), prints them as
 * "PLAIN TLS", and answers every request at once. One thread, epoll, no allocation in a request's way.
 *
 * The plain port answers in one piece, with a length. The port with TLS answers as Next.js does: in chunks, head and
 * body in one TLS record, and the last chunk in another that leaves when all that came meanwhile has been heard.
 *
 * LOG is a file that is mapped into memory, so that whoever measures can watch it without asking the sink:
 * struct head, then one struct record for each request. "arrived" is the kernel's own stamp (SO_TIMESTAMPNS) on
 * the segment whose bytes made the request complete: it is set when the segment reaches this socket, however long
 * the sink then waits for a processor. "seen" is the sink's clock when it had read and parsed the request.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECORDS 2000000 /* sparse: only what is written takes room */
#define REQUEST 8192    /* bytes of the longest request that is understood */
#define FDS 65536
#define EVENTS 256

struct head {
    uint64_t requests, connections, handshakes, unstamped, refused, broken, spare[2];
};
struct record {
    int64_t arrived, seen; /* nanoseconds of CLOCK_REALTIME */
    int64_t job;
};
struct connection {
    SSL *tls;
    int owes, last; /* the end of a reply; it is the last one on this connection */
    size_t have;
    char request[REQUEST + 1];
};

static struct head *head;
static struct record *records;
static struct connection *connections[FDS];
static const char *secret;
static int epoll;
static int owing[FDS], owed; /* the connections whose replies are not over */

static const char END[] = "0\r\n\r\n";
static const char BODY[] = "{\"success\": true, \"unassignedCount\": 3}";

static int64_t nanoseconds(struct timespec at) { return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec; }

static int64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return nanoseconds(at);
}

static void map_log(const char *path) {
    size_t size = sizeof(struct head) + RECORDS * sizeof(struct record);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)size)) err(1, "cannot make %s", path);
    head = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (head == MAP_FAILED) err(1, "cannot map %s", path);
    records = (struct record *)(head + 1);
}

static int listening(int *port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, length)) err(1, "cannot bind");
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one)) err(1, "no stamps"); /* accepted ones inherit it */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)) err(1, "no TCP_NODELAY");
    if (listen(fd, 65535)) err(1, "cannot listen"); /* the kernel takes the lesser of this and somaxconn */
    getsockname(fd, (struct sockaddr *)&at, &length);
    *port = ntohs(at.sin_port);
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
    return fd;
}

static void hang_up(int fd) {
    if (connections[fd]->tls) SSL_free(connections[fd]->tls);
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

static void take_in(int listener, SSL_CTX *context) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED) return;
            err(1, "cannot accept");
        }
        if (fd >= FDS) errx(1, "more than %d connections", FDS);
        struct connection *c = connections[fd] = malloc(sizeof *c);
        if (!c) err(1, "no memory");
        c->have = 0;
        c->owes = c->last = 0;
        c->tls = NULL;
        if (context) {
            c->tls = SSL_new(context);
            SSL_set_bio(c->tls, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
            SSL_set_accept_state(c->tls);
        }
        head->connections++;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
    }
}

static int put(int fd, const char *bytes, size_t length) {
    return send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* What TLS wants to send goes out. */
static int flush(int fd, SSL *tls) {
    char bytes[16384];
    int length;
    while ((length = BIO_read(SSL_get_wbio(tls), bytes, sizeof bytes)) > 0)
        if (!put(fd, bytes, (size_t)length)) return 0;
    return 1;
}

static int put_tls(int fd, struct connection *c, const char *bytes, int length) {
    return SSL_write(c->tls, bytes, length) == length && flush(fd, c->tls);
}

/* The end of a reply that was begun. 0: it could not be sent. */
static int settle(int fd, struct connection *c) {
    if (!c->owes) return 1;
    c->owes = 0;
    return put_tls(fd, c, END, sizeof END - 1);
}

static void settle_all(void) {
    for (int n = 0; n < owed; n++) {
        int fd = owing[n];
        struct connection *c = connections[fd];
        if (!c || !c->owes) continue; /* it hung up, or asked again */
        int sent = settle(fd, c);
        if (!sent) head->broken++;
        if (!sent || c->last) hang_up(fd);
    }
    owed = 0;
}

static const char IN_ONE_PIECE[] = "HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s";
static const char AS_NEXT_DOES[] =
    "HTTP/1.1 %s\r\n"
    "vary: rsc, next-router-state-tree, next-router-prefetch, next-router-segment-prefetch\r\n"
    "content-type: application/json\r\n"
    "Date: Sat, 28 Nov 2026 12:00:00 GMT\r\n"
    "%sTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n";

/* Answer what is complete in the buffer. 0: the connection is to be closed. */
static int answer(int fd, struct connection *c, int64_t arrived) {
    char *end;
    while (c->request[c->have] = 0, (end = strstr(c->request, "\r\n\r\n"))) {
        end[2] = 0; /* the headers alone, each with its line end */
        char *found = strcasestr(c->request, "\r\ncontent-length:");
        size_t whole = (size_t)(end + 4 - c->request) + (found ? strtoul(found + 17, NULL, 10) : 0);
        if (strcasestr(c->request, "\r\ntransfer-encoding:") || whole > REQUEST) return head->broken++, 0;
        if (c->have < whole) {
            end[2] = '\r';
            return 1;
        }
        char *path = strstr(c->request, " /job/");
        char *sent = strcasestr(c->request, "\r\nx-cron-secret:");
        if (!path) return head->broken++, 0;
        int known = 0;
        if (sent) {
            sent += 16 + strspn(sent + 16, " ");
            known = !strncmp(sent, secret, strlen(secret)) && sent[strlen(secret)] == '\r';
        }
        int last = strcasestr(c->request, "\r\nconnection: close") != NULL;
        int64_t seen = now();
        if (!arrived) head->unstamped++;
        if (!known) head->refused++;
        if (head->requests < RECORDS)
            records[head->requests] = (struct record){arrived ? arrived : seen, seen, strtol(path + 6, NULL, 10)};
        __atomic_store_n(&head->requests, head->requests + 1, __ATOMIC_RELEASE);

        char reply[1024];
        const char *status = known ? "200 OK" : "401 Unauthorized", *kept = last ? "Connection: close\r\n" : "";
        int length = snprintf(reply, sizeof reply, c->tls ? AS_NEXT_DOES : IN_ONE_PIECE, status, kept, sizeof BODY - 1, BODY);
        if (c->tls ? !settle(fd, c) || !put_tls(fd, c, reply, length) : !put(fd, reply, (size_t)length))
            return head->broken++, 0;
        if (c->tls) c->owes = 1, c->last = last, owing[owed++] = fd;
        else if (last) return 0;
        memmove(c->request, c->request + whole, c->have - whole);
        c->have -= whole;
    }
    return c->have < REQUEST;
}

static int decrypt(int fd, struct connection *c) {
    if (!SSL_is_init_finished(c->tls)) {
        int done = SSL_do_handshake(c->tls);
        int why = SSL_get_error(c->tls, done);
        if (!flush(fd, c->tls) || (done != 1 && why != SSL_ERROR_WANT_READ)) return head->broken++, 0;
        if (done != 1) return 1;
        head->handshakes++;
    }
    while (c->have < REQUEST) {
        int got = SSL_read(c->tls, c->request + c->have, (int)(REQUEST - c->have));
        if (got <= 0) return SSL_get_error(c->tls, got) == SSL_ERROR_WANT_READ;
        c->have += (size_t)got;
    }
    return 1;
}

static void hear(int fd) {
    struct connection *c = connections[fd];
    char encrypted[16384], control[256];
    struct iovec into = {c->request + c->have, REQUEST - c->have};
    if (c->tls) into = (struct iovec){encrypted, sizeof encrypted};
    struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(fd, &message, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        hang_up(fd);
        return;
    }
    int64_t arrived = 0;
    for (struct cmsghdr *m = CMSG_FIRSTHDR(&message); m; m = CMSG_NXTHDR(&message, m))
        if (m->cmsg_level == SOL_SOCKET && m->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec at;
            memcpy(&at, CMSG_DATA(m), sizeof at);
            arrived = nanoseconds(at);
        }
    if (c->tls) {
        BIO_write(SSL_get_rbio(c->tls), encrypted, (int)got);
        if (!decrypt(fd, c)) {
            hang_up(fd);
            return;
        }
    } else {
        c->have += (size_t)got;
    }
    if (!answer(fd, c, arrived)) hang_up(fd);
}

int main(int count, char **words) {
    if (count != 3 && count != 5) errx(2, "usage: sink LOG SECRET [CERT KEY]");
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    struct rlimit most;
    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max < FDS ? most.rlim_max : FDS;
    setrlimit(RLIMIT_NOFILE, &most);
    secret = words[2];
    map_log(words[1]);
    SSL_CTX *context = NULL;
    if (count == 5) {
        context = SSL_CTX_new(TLS_server_method());
        if (SSL_CTX_use_certificate_chain_file(context, words[3]) != 1 || SSL_CTX_use_PrivateKey_file(context, words[4], SSL_FILETYPE_PEM) != 1)
            errx(1, "cannot use %s and %s", words[3], words[4]);
    }
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int plain_port, tls_port = 0, plain = listening(&plain_port), tls = context ? listening(&tls_port) : -1;
    printf("%d %d\n", plain_port, tls_port);
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int n = 0; n < ready; n++) {
            int fd = events[n].data.fd;
            if (fd == plain || fd == tls) take_in(fd, fd == tls ? context : NULL);
            else hear(fd);
        }
        settle_all();
    }
}
