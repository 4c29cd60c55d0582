/* The site, faked: just enough of its HTTP for a gateway to hold a chat.
 *
 * One thread, one epoll, no allocation per event, so that the server under test is what the benchmark sees.
 * A request chooses its own stream by a word in the prompt: "bench-n1000-r20" asks for 1000 events, 20 per
 * second (r0: as fast as the reader takes them).  The flags --events and --rate hold for prompts without it.
 * "bench-n20-r0-f" asks for an answer that is the same each time, so that a client can know it: its marks are
 * 1000001, 1000002, ….
 *
 * Every answer frame carries one mark, "@<microseconds>": the moment (CLOCK_MONOTONIC) at which it was due.
 * A mark passes any translation unchanged, so the load generator can count what arrived and how late.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_FD = 65536,
    KEEP = 64 << 10,       /* of a request only this much is kept; a longer body is counted and dropped */
    BURST = 4,             /* events per write of a fast stream; each is an HTTP chunk of its own all the same */
    EVENT_ROOM = 1 << 10,  /* no event is longer */
    BODY_LIMIT = 64 << 20,
};

struct conn {
    int fd;
    unsigned generation; /* tells a timer of this connection from one of its predecessor on the same fd */
    bool open, armed;    /* armed: waits for EPOLLOUT */
    char *kept;
    size_t kept_len, kept_room, received, head_len, body_len;
    char *pending; /* what the socket did not take */
    size_t pending_len, pending_at;
    bool streaming, fixed; /* fixed: the same words as ever */
    unsigned events, next;
    int64_t start, interval; /* microseconds */
    uint64_t id;
    char chat_id[64]; /* the answer names the chat that was asked, and a careful gateway looks */
};

struct timer {
    int64_t due;
    int fd;
    unsigned generation;
};

static struct conn conns[MAX_FD];
static struct timer timers[MAX_FD];
static size_t timer_count;
static int epfd;
static uint64_t ids;
static unsigned default_events = 20, default_rate = 0;
static char *models;
static size_t models_len;
static char scratch[256 << 10], slab[(BURST + 1) * EVENT_ROOM];
static const char MODELS[] =
    "{\"success\":true,\"request_id\":\"a100fc85-591a-4a28-ad65-8e76f99fe567\",\"data\":{\"data\":[{\"id\":"
    "\"qwen3.7-plus\",\"name\":\"Qwen3.7-Plus\",\"object\":\"model\",\"owned_by\":\"qwen\",\"info\":{\"id\":"
    "\"qwen3.7-plus\",\"name\":\"Qwen3.7-Plus\",\"is_active\":true,\"is_visitor_active\":true,\"meta\":{"
    "\"capabilities\":{\"thinking\":true,\"search\":true},\"max_context_length\":1000000,"
    "\"max_summary_generation_length\":65536,\"abilities\":{\"thinking\":3},\"thinking_format\":\"summary\","
    "\"chat_type\":[\"t2t\",\"search\"]}},\"preset\":true,\"action_ids\":[]}]}}";

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* ---- timers: a binary heap; an entry whose connection is gone is skipped when it comes up ---- */

static void timer_add(struct timer t) {
    size_t i = timer_count++;
    if (timer_count > MAX_FD) die("timers");
    for (; i && timers[(i - 1) / 2].due > t.due; i = (i - 1) / 2) timers[i] = timers[(i - 1) / 2];
    timers[i] = t;
}

static struct timer timer_pop(void) {
    struct timer top = timers[0], last = timers[--timer_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < timer_count; i = child) {
        if (child + 1 < timer_count && timers[child + 1].due < timers[child].due) child++;
        if (timers[child].due >= last.due) break;
        timers[i] = timers[child];
    }
    timers[i] = last;
    return top;
}

/* ---- output ---- */

static void drop(struct conn *c) {
    close(c->fd);
    free(c->kept);
    free(c->pending);
    unsigned generation = c->generation + 1;
    memset(c, 0, sizeof *c);
    c->generation = generation;
}

static void arm(struct conn *c, bool out) {
    if (c->armed == out) return;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e);
    c->armed = out;
}

static bool put(struct conn *c, const char *bytes, size_t len) {
    if (!c->pending_len) {
        ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return drop(c), false;
        if (n > 0) bytes += n, len -= (size_t)n;
    }
    if (len) {
        c->pending = realloc(c->pending, c->pending_at + c->pending_len + len);
        if (!c->pending) die("realloc");
        memcpy(c->pending + c->pending_at + c->pending_len, bytes, len);
        c->pending_len += len;
        arm(c, true);
    }
    return true;
}

static bool flush(struct conn *c) {
    ssize_t n = send(c->fd, c->pending + c->pending_at, c->pending_len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return drop(c), false;
    if (n > 0) c->pending_at += (size_t)n, c->pending_len -= (size_t)n;
    if (!c->pending_len) {
        free(c->pending);
        c->pending = NULL;
        c->pending_at = 0;
    }
    return true;
}

/* ---- the stream: spelling, spacing and key order as recorded, one HTTP chunk per event ---- */

static size_t event(char *out, const struct conn *c, unsigned i) {
    char text[EVENT_ROOM];
    unsigned long long id = c->id;
    int n;
    if (i == 0)
        n = snprintf(text, sizeof text,
                     "data: {\"response.created\":{\"chat_id\": \"%s\", "
                     "\"parent_id\": \"00000000-0000-4000-9000-%012llx\", "
                     "\"response_id\":\"00000000-0000-4000-a000-%012llx\", \"response_index\": \"0\"}} \n\n",
                     c->chat_id, id, id);
    else if (i + 1 < c->events)
        n = snprintf(text, sizeof text,
                     "data: {\"choices\": [{\"delta\": {\"role\": \"assistant\", \"content\": \" @%lld\", "
                     "\"phase\": \"answer\", \"status\": \"typing\"}}], "
                     "\"response_id\": \"00000000-0000-4000-a000-%012llx\", \"usage\": {\"input_tokens\": 1308, "
                     "\"output_tokens\": %u, \"characters\": 0, \"total_tokens\": %u, \"input_tokens_details\": "
                     "{\"text_tokens\": 1308}, \"output_tokens_details\": {\"text_tokens\": %u}, "
                     "\"prompt_tokens_details\": {\"cached_tokens\": 0}}, \"timestamp\": 1789353472}\n\n",
                     (long long)(c->fixed ? 1000000 + i : c->start + i * c->interval), id, i, 1308 + i, i);
    else
        n = snprintf(text, sizeof text,
                     "data: {\"choices\": [{\"delta\": {\"content\": \"\", \"role\": \"assistant\", \"status\": "
                     "\"finished\", \"phase\": \"answer\"}}], "
                     "\"response_id\": \"00000000-0000-4000-a000-%012llx\"}\n\n",
                     id);
    int head = sprintf(out, "%x\r\n", (unsigned)n);
    memcpy(out + head, text, (size_t)n);
    memcpy(out + head + n, "\r\n", 2);
    return (size_t)(head + n + 2);
}

static bool put_events(struct conn *c, unsigned until) {
    size_t len = 0;
    for (int i = 0; i < BURST && c->next < until; i++) len += event(slab + len, c, c->next++);
    if (c->next == c->events) {
        memcpy(slab + len, "0\r\n\r\n", 5);
        len += 5;
        c->streaming = false;
    }
    return put(c, slab, len);
}

/* One burst per turn, so that no stream keeps the others waiting. */
static void pump(struct conn *c) {
    if (!c->pending_len && c->streaming && !c->interval && !put_events(c, c->events)) return;
    arm(c, c->pending_len || (c->streaming && !c->interval));
}

static void tick(int64_t now) {
    while (timer_count && timers[0].due <= now) {
        struct timer t = timer_pop();
        struct conn *c = &conns[t.fd];
        if (!c->open || c->generation != t.generation || !c->streaming) continue;
        if (!put_events(c, c->next + 1) || !c->streaming) continue;
        t.due = c->start + c->next * c->interval;
        timer_add(t);
    }
}

static void start_stream(struct conn *c) {
    static const char HEAD[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n"
        "cache-control: no-cache\r\nx-actual-status-code: 200\r\n\r\n";
    unsigned events = default_events, rate = default_rate;
    char *word = memmem(c->kept + c->head_len, c->kept_len - c->head_len, "bench-n", 7);
    int end = 0;
    c->fixed = word && sscanf(word, "bench-n%u-r%u%n", &events, &rate, &end) == 2 && !strncmp(word + end, "-f", 2);
    c->chat_id[0] = 0;
    sscanf(c->kept, "POST /api/v2/chat/completions?chat_id=%63[^& ]", c->chat_id);
    c->events = events < 3 ? 3 : events;
    c->next = 0;
    c->interval = rate ? 1000000 / rate : 0;
    c->start = now_us();
    c->id = ids++;
    c->streaming = true;
    if (!put(c, HEAD, sizeof HEAD - 1)) return;
    if (!c->interval) return pump(c);
    if (put_events(c, 1)) timer_add((struct timer){c->start + c->interval, c->fd, c->generation});
}

/* ---- requests ---- */

static void put_json(struct conn *c, const char *body, size_t len) {
    char head[256];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                     "x-actual-status-code: 200\r\n\r\n",
                     len);
    /* Two small writes would be two packets; one buffer serves all but the model list. */
    if (len + (size_t)n <= sizeof slab) {
        memcpy(slab, head, (size_t)n);
        memcpy(slab + n, body, len);
        put(c, slab, (size_t)n + len);
    } else if (put(c, head, (size_t)n)) {
        put(c, body, len);
    }
}

static void answer(struct conn *c) {
    static const char DONE[] = "{\"success\":true,\"data\":{\"status\":true}}";
    const char *request = c->kept;
    if (!strncmp(request, "POST /api/v2/chat/completions?", 30)) {
        start_stream(c);
    } else if (!strncmp(request, "POST /api/v2/chats/new", 22)) {
        char body[256];
        int n = snprintf(body, sizeof body,
                         "{\"success\":true,\"request_id\":\"00000000-0000-4000-b000-%012llx\",\"data\":{\"id\":"
                         "\"00000000-0000-4000-8000-%012llx\"}}",
                         (unsigned long long)ids, (unsigned long long)ids);
        ids++;
        put_json(c, body, (size_t)n);
    } else if (!strncmp(request, "GET /api/v2/models", 18)) {
        put_json(c, models, models_len);
    } else {
        put_json(c, DONE, sizeof DONE - 1); /* delete, stop, and whatever else a gateway likes to tell the site */
    }
    c->kept_len = c->received = c->head_len = c->body_len = 0;
}

static void keep(struct conn *c, const char *bytes, size_t len) {
    c->received += len;
    if (len > KEEP - c->kept_len) len = KEEP - c->kept_len;
    if (c->kept_len + len + 1 > c->kept_room) {
        c->kept_room = c->kept_len + len + 1 + 2048;
        c->kept = realloc(c->kept, c->kept_room);
        if (!c->kept) die("realloc");
    }
    memcpy(c->kept + c->kept_len, bytes, len);
    c->kept_len += len;
    c->kept[c->kept_len] = 0;
}

/* False: not (yet) a request head that can be served. */
static bool read_head(struct conn *c) {
    char *end = strstr(c->kept, "\r\n\r\n");
    if (!end) return c->kept_len < KEEP ? false : (drop(c), false);
    *end = 0;
    char *length = strcasestr(c->kept, "\r\ncontent-length:");
    bool chunked = strcasestr(c->kept, "\r\ntransfer-encoding:") != NULL;
    c->body_len = length ? strtoul(length + 17, NULL, 10) : 0;
    c->head_len = (size_t)(end - c->kept) + 4;
    if (!chunked && c->body_len <= BODY_LIMIT) return true;
    put(c, "HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n", 51);
    if (c->open) drop(c);
    return false;
}

static void on_readable(struct conn *c) {
    ssize_t n;
    while ((n = recv(c->fd, scratch, sizeof scratch, 0)) > 0) {
        keep(c, scratch, (size_t)n);
        if (!c->head_len && !read_head(c)) {
            if (c->open) continue;
            return;
        }
        if (c->received >= c->head_len + c->body_len && !c->streaming) return answer(c);
        if ((size_t)n < sizeof scratch) return;
    }
    if (n == 0 || errno != EAGAIN) drop(c);
}

static void accept_all(int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        conns[fd].fd = fd;
        conns[fd].open = true;
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e);
    }
}

static void read_models(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) die(path);
    models = malloc(1 << 20);
    if (!models) die("malloc");
    models_len = fread(models, 1, 1 << 20, f);
    fclose(f);
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 4096)) die("listen");
    return fd;
}

static void run(int listener) {
    static struct epoll_event ready[1024];
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int64_t wait = timer_count ? (timers[0].due - now_us() + 999) / 1000 : 1000;
        int n = epoll_wait(epfd, ready, 1024, wait < 0 ? 0 : (int)wait);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.fd == listener) {
                accept_all(listener);
                continue;
            }
            struct conn *c = &conns[ready[i].data.fd];
            if (c->open && (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) on_readable(c);
            if (c->open && (ready[i].events & EPOLLOUT) && (!c->pending_len || flush(c))) pump(c);
        }
        tick(now_us());
    }
}

int main(int argc, char **argv) {
    static const struct option OPTIONS[] = {
        {"port", 1, 0, 'p'},   {"events", 1, 0, 'e'},   {"rate", 1, 0, 'r'},
        {"models", 1, 0, 'm'}, {"lifetime", 1, 0, 'l'}, {0, 0, 0, 0},
    };
    int port = 8600, lifetime = 900;
    models = (char *)MODELS;
    models_len = sizeof MODELS - 1;
    for (int o; (o = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        if (o == 'p') port = atoi(optarg);
        else if (o == 'e') default_events = (unsigned)atoi(optarg);
        else if (o == 'r') default_rate = (unsigned)atoi(optarg);
        else if (o == 'm') read_models(optarg);
        else if (o == 'l') lifetime = atoi(optarg);
        else return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* no orphan when the driver is killed, */
    alarm((unsigned)lifetime);        /* and no immortal when nobody is there to kill it */
    epfd = epoll_create1(EPOLL_CLOEXEC);
    run(listen_on(port));
}
