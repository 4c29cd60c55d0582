/* The load generator: K clients in a closed loop, each sending one and the same request over its own kept-alive
 * connection, reading the answer to its end, and sending again.  One thread, one epoll; prints one JSON line.
 * Where the body says "client-00000", each client puts its own number there, so that each has its own conversation.
 *
 * An answer is good when it is a whole HTTP message, has status 200, reports no error, and carries exactly the
 * marks ("@<microseconds>", see mock.c) that were asked for.  So an answer that lost or repeated one event counts
 * as a failure, whatever language it is in.  A mark is late when it arrives more than --late-ms after its moment.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CLIENTS = 20000, HEAD_ROOM = 8 << 10 };

enum framing { BY_LENGTH, CHUNKED, UNTIL_CLOSE };
enum chunk { SIZE, SIZE_LINE, DATA, DATA_END, TRAILER };

struct client {
    int fd;
    bool busy, writing;
    const char *request;
    size_t sent;
    int64_t start, first_byte, first_mark;
    char head[HEAD_ROOM];
    size_t head_len;
    bool head_done, closes;
    int status;
    enum framing framing;
    enum chunk chunk;
    size_t left, trailer; /* bytes to come of this body or chunk; length of the trailer line so far */
    char *line;           /* a line cut by the network */
    size_t line_len, line_room;
    unsigned marks;
    bool error;
};

struct series {
    uint32_t *at;
    size_t count, room;
};

static struct client clients[MAX_CLIENTS];
static struct series latency, first_byte, first_mark, delay;
static struct sockaddr_in server = {.sin_family = AF_INET};
static char *request;
static size_t request_len;
static int epfd;
static unsigned want_marks, max_requests = 1u << 30;
static int64_t late_us, stop_at;
static unsigned launched, good, not_200, broken, incomplete, continued, alive, open_now, open_peak;
static uint64_t events, marks, late, bytes;
static char scratch[256 << 10];

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void *grown(void *p, size_t size) {
    p = realloc(p, size);
    if (!p) exit(3);
    return p;
}

static void record(struct series *s, int64_t value) {
    if (s->count == s->room) s->at = grown(s->at, (s->room = s->room ? 2 * s->room : 4096) * sizeof *s->at);
    s->at[s->count++] = value < 0 ? 0 : (uint32_t)value;
}

/* ---- reading the body ---- */

static void read_line(struct client *c, const char *p, const char *end, int64_t now) {
    if (end - p >= 5 && !memcmp(p, "data:", 5)) events++;
    if (end - p >= 13 && !memcmp(p, "data: {\"error", 13)) c->error = true;
    while ((p = memchr(p, '@', (size_t)(end - p)))) {
        int64_t due = 0;
        const char *digit = ++p;
        for (; p < end && *p >= '0' && *p <= '9'; p++) due = 10 * due + (*p - '0');
        if (p - digit < 6) continue;
        marks++;
        if (!c->marks++) c->first_mark = now;
        if (!late_us) continue;
        record(&delay, now - due);
        if (now - due > late_us) late++;
    }
}

static void read_body(struct client *c, const char *p, size_t len, int64_t now) {
    const char *end = p + len;
    if (!c->first_byte) {
        c->first_byte = now;
        if (++open_now > open_peak) open_peak = open_now;
    }
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        if (newline && !c->line_len) {
            read_line(c, p, newline, now);
        } else {
            size_t part = (size_t)((newline ? newline : end) - p);
            if (c->line_len + part > c->line_room)
                c->line = grown(c->line, c->line_room = 2 * (c->line_len + part));
            memcpy(c->line + c->line_len, p, part);
            c->line_len += part;
            if (newline) {
                read_line(c, c->line, c->line + c->line_len, now);
                c->line_len = 0;
            }
        }
        p = newline ? newline + 1 : end;
    }
}

static int hex(char ch) {
    return ch >= '0' && ch <= '9' ? ch - '0' : (ch | 32) >= 'a' && (ch | 32) <= 'f' ? (ch | 32) - 'a' + 10 : -1;
}

/* True when the last chunk and its trailer have been read. */
static bool read_chunks(struct client *c, const char *p, const char *end, int64_t now) {
    while (p < end) {
        if (c->chunk == DATA) {
            size_t n = (size_t)(end - p) < c->left ? (size_t)(end - p) : c->left;
            read_body(c, p, n, now);
            p += n;
            if (!(c->left -= n)) c->chunk = DATA_END;
            continue;
        }
        char ch = *p++;
        if (c->chunk == SIZE && hex(ch) >= 0) {
            c->left = 16 * c->left + (size_t)hex(ch);
        } else if (c->chunk == SIZE || c->chunk == SIZE_LINE) {
            c->chunk = ch != '\n' ? SIZE_LINE : c->left ? DATA : TRAILER;
            c->trailer = 0;
        } else if (ch == '\n') {
            if (c->chunk == TRAILER && !c->trailer) return true;
            if (c->chunk == DATA_END) c->chunk = SIZE;
            c->trailer = 0;
        } else if (ch != '\r') {
            c->trailer++;
        }
    }
    return false;
}

static void read_head(struct client *c) {
    c->head_done = true;
    c->status = c->head_len > 12 ? atoi(c->head + 9) : 0;
    c->closes = strcasestr(c->head, "\r\nconnection: close") != NULL;
    continued += strcasestr(c->head, "\r\nx-gateway-continuation: continue") != NULL;
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->chunk = SIZE;
    c->left = length ? strtoul(length + 17, NULL, 10) : 0;
    c->framing = strcasestr(c->head, "\r\ntransfer-encoding: chunked") ? CHUNKED : length ? BY_LENGTH : UNTIL_CLOSE;
}

/* True when the answer is whole. */
static bool read_answer(struct client *c, const char *p, size_t len, int64_t now) {
    const char *end = p + len;
    if (!c->head_done) {
        size_t had = c->head_len, n = len < HEAD_ROOM - 1 - had ? len : HEAD_ROOM - 1 - had;
        memcpy(c->head + had, p, n);
        c->head[had + n] = 0;
        c->head_len += n;
        char *stop = strstr(c->head, "\r\n\r\n");
        if (!stop) return false;
        p += (size_t)(stop + 4 - c->head) - had;
        stop[2] = 0;
        read_head(c);
    }
    if (c->framing == CHUNKED) return read_chunks(c, p, end, now);
    size_t n = (size_t)(end - p);
    if (c->framing == BY_LENGTH && n > c->left) n = c->left;
    if (n) read_body(c, p, n, now);
    if (c->framing == UNTIL_CLOSE) return false;
    return !(c->left -= n);
}

/* ---- the loop of one client ---- */

static void watch(struct client *c, int op, bool out) {
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.u32 = (uint32_t)(c - clients)};
    epoll_ctl(epfd, op, c->fd, &e);
    c->writing = out;
}

static bool open_connection(struct client *c) {
    int yes = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) return false;
    watch(c, EPOLL_CTL_ADD, true);
    return true;
}

/* A failed write shows up as a closed connection on the next read: one place decides. */
static void write_request(struct client *c) {
    while (c->sent < request_len) {
        ssize_t n = send(c->fd, c->request + c->sent, request_len - c->sent, MSG_NOSIGNAL);
        if (n <= 0) break;
        c->sent += (size_t)n;
    }
    bool more = c->sent < request_len;
    if (more != c->writing) watch(c, EPOLL_CTL_MOD, more);
}

static void close_connection(struct client *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

/* A client that cannot connect, or has nothing left to do, leaves; the run ends with the last one. */
static void launch(struct client *c, int64_t now) {
    if (launched >= max_requests || now >= stop_at) {
        close_connection(c);
        alive--;
        return;
    }
    launched++;
    c->busy = true;
    c->start = now;
    c->sent = c->head_len = c->line_len = 0;
    c->first_byte = c->first_mark = 0;
    c->head_done = c->closes = c->error = false;
    c->marks = 0;
    if (c->fd >= 0) {
        write_request(c);
    } else if (!open_connection(c)) {
        close_connection(c);
        broken++;
        alive--;
    }
}

static void finish(struct client *c, bool whole, int64_t now) {
    if (c->line_len) read_line(c, c->line, c->line + c->line_len, now);
    c->busy = false;
    open_now -= c->first_byte != 0;
    if (!whole) {
        broken++;
    } else if (c->status != 200) {
        not_200++;
    } else if (c->error || c->marks != want_marks) {
        incomplete++;
    } else {
        good++;
        record(&latency, now - c->start);
        record(&first_byte, c->first_byte - c->start);
        record(&first_mark, c->first_mark - c->start);
    }
    if (!whole || c->closes) close_connection(c);
    if (!whole && !c->head_len) { /* refused or dropped without a word: do not hammer */
        alive--;
        return;
    }
    launch(c, now);
}

static void on_ready(struct client *c, uint32_t what) {
    if ((what & EPOLLOUT) && c->sent < request_len) write_request(c);
    if (!(what & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    ssize_t n = recv(c->fd, scratch, sizeof scratch, 0);
    if (n < 0 && errno == EAGAIN) return;
    int64_t now = now_us();
    if (n > 0) {
        bytes += (uint64_t)n;
        if (!c->busy) return;
        if (read_answer(c, scratch, (size_t)n, now)) finish(c, true, now);
    } else {
        bool whole = n == 0 && c->head_done && c->framing == UNTIL_CLOSE;
        c->closes = true;
        finish(c, whole, now);
    }
}

static void run(unsigned count, int64_t ramp, int64_t begin, int64_t give_up_at) {
    static struct epoll_event ready[1024];
    unsigned started = 0;
    alive = count;
    for (int64_t now = begin; alive && now < give_up_at; now = now_us()) {
        while (started < count && now >= begin + ramp * started / count) launch(&clients[started++], now);
        int n = epoll_wait(epfd, ready, 1024, started < count ? 1 : 100);
        for (int i = 0; i < n; i++) {
            struct client *c = &clients[ready[i].data.u32];
            if (c->fd >= 0) on_ready(c, ready[i].events);
        }
    }
    for (unsigned i = 0; i < count; i++) broken += clients[i].busy; /* out of time */
}

/* ---- the report ---- */

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_series(const char *name, struct series *s) {
    qsort(s->at, s->count, sizeof *s->at, ascending);
    if (!s->count) {
        printf(", \"%s\": null", name);
        return;
    }
    printf(", \"%s\": {\"p50\": %u, \"p99\": %u, \"max\": %u}", name, s->at[s->count / 2],
           s->at[s->count * 99 / 100], s->at[s->count - 1]);
}

static void print_report(double seconds) {
    printf("{\"requests\": %u, \"good\": %u, \"not_200\": %u, \"broken\": %u, \"incomplete\": %u", launched, good,
           not_200, broken, incomplete);
    printf(", \"events\": %llu, \"marks\": %llu, \"late\": %llu, \"bytes\": %llu, \"seconds\": %.4f",
           (unsigned long long)events, (unsigned long long)marks, (unsigned long long)late,
           (unsigned long long)bytes, seconds);
    printf(", \"open_peak\": %u, \"continued\": %u", open_peak, continued);
    print_series("latency_us", &latency);
    print_series("first_byte_us", &first_byte);
    print_series("first_mark_us", &first_mark);
    print_series("delay_us", &delay);
    printf("}\n");
}

/* The whole request as it goes over the wire, made once. */
static void compose(const char *path, const char *headers, const char *body_path) {
    FILE *f = fopen(body_path, "rb");
    if (!f) exit(2);
    size_t room = (32 << 20) + HEAD_ROOM;
    char *body = grown(NULL, room);
    size_t len = fread(body, 1, room - HEAD_ROOM, f);
    fclose(f);
    request = grown(NULL, len + HEAD_ROOM);
    int n = snprintf(request, HEAD_ROOM,
                     "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n%s\r\n",
                     path, len, headers);
    memcpy(request + n, body, len);
    request_len = (size_t)n + len;
    free(body);
}

static void number(struct client *c, unsigned i) {
    static const char PLACE[] = "client-00000";
    char *place = memmem(request, request_len, PLACE, sizeof PLACE - 1), own[sizeof PLACE];
    c->request = request;
    if (!place) return;
    char *copy = grown(NULL, request_len);
    memcpy(copy, request, request_len);
    snprintf(own, sizeof own, "client-%05u", i);
    memcpy(copy + (place - request), own, sizeof own - 1);
    c->request = copy;
}

int main(int argc, char **argv) {
    static const struct option OPTIONS[] = {
        {"port", 1, 0, 'p'},    {"path", 1, 0, 'a'},    {"body", 1, 0, 'b'},    {"header", 1, 0, 'h'},
        {"clients", 1, 0, 'c'}, {"requests", 1, 0, 'r'}, {"seconds", 1, 0, 's'}, {"ramp-ms", 1, 0, 'm'},
        {"marks", 1, 0, 'k'},   {"late-ms", 1, 0, 'l'}, {"timeout", 1, 0, 't'}, {0, 0, 0, 0},
    };
    const char *path = "/", *body = "/dev/null";
    char headers[HEAD_ROOM / 2] = "";
    unsigned count = 1;
    int64_t ramp = 0, timeout = 30;
    double seconds = 600;
    for (int o; (o = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (o == 'p') server.sin_port = htons((uint16_t)atoi(optarg));
        else if (o == 'a') path = optarg;
        else if (o == 'b') body = optarg;
        else if (o == 'h') snprintf(headers + strlen(headers), sizeof headers - strlen(headers), "%s\r\n", optarg);
        else if (o == 'c') count = (unsigned)atoi(optarg);
        else if (o == 'r') max_requests = (unsigned)atoi(optarg);
        else if (o == 's') seconds = atof(optarg);
        else if (o == 'm') ramp = 1000 * atoll(optarg);
        else if (o == 'k') want_marks = (unsigned)atoi(optarg);
        else if (o == 'l') late_us = 1000 * atoll(optarg);
        else if (o == 't') timeout = atoll(optarg);
        else return 2;
    }
    if (count < 1 || count > MAX_CLIENTS) return 2;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    compose(path, headers, body);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < count; i++) {
        clients[i].fd = -1;
        number(&clients[i], i);
    }
    int64_t begin = now_us();
    stop_at = begin + (int64_t)(1e6 * seconds);
    run(count, ramp, begin, stop_at + 1000000 * timeout);
    print_report((double)(now_us() - begin) / 1e6);
    return 0;
}
