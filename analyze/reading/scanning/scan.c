/* Reads the ordinary events of a Kineto trace: a JSON array of objects becomes columns of integers.

   The host (scanner.py) says which categories of events there are, and which arguments count in each. It writes a piece
   of a trace to `reserve(bytes)` and calls `scan`. It gives each text that was seen for the first time a code, and
   calls `divide`, which leaves the columns of each category, and the places of the events that are left to the host.

   An event is left if anything in it is not ordinary: a number of another form, a text that is not ASCII, an argument
   that no ordinary event of its category has. So nothing here need know what such an event means.

   `scan` refuses a piece that is not JSON. It does not check escapes and UTF-8 in events that it leaves.

   Compiled to scan.wasm by `make wasm`. It has no libraries, and its memory is bounded by the module's. */

#include <wasm_simd128.h>

typedef unsigned char u8;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

enum { ABSENT = -1, NOT_JSON = -1, NO_MEMORY = -2 };

#define INLINE static inline __attribute__((always_inline))
#define MOST_NAMES 64 /* categories, and fields of arguments */
#define MOST_FIELDS 8 /* of each role in a category */
#define MOST_NESTED 64
#define MOST_EXPECTED_FIELDS 24
#define MOST_EXPECTED_BYTES 48 /* bytes of a field's name with what is around it */
#define PAGE (1 << 16)
#define PADDING 64 /* zeros after the piece: a string, a number and an array end there */
#define LARGEST_TIME_NS ((1ll << 61) - 1) /* as in events.py */
#define MOST_DIGITS 18 /* of a number that fits 64 bits */

/* ---- Memory: taken once, until the process ends. */

extern u8 __heap_base;
static u64 heap, heap_end;

static u8 *take(u64 bytes) {
    if (!heap) {
        heap = (u64)(u32)&__heap_base;
        heap_end = (u64)__builtin_wasm_memory_size(0) * PAGE;
    }
    u64 start = (heap + 15) & ~15ull, end = start + bytes;
    if (end > heap_end) {
        u64 pages = (end - heap_end + PAGE - 1) / PAGE;
        if (end >> 32 || __builtin_wasm_memory_grow(0, (u32)pages) == ~0ul) return 0;
        heap_end += pages * PAGE;
    }
    heap = end;
    return (u8 *)(u32)start;
}

typedef struct {
    u8 *at;
    u32 bytes, room;
} Buffer;

/* Doubles the room, if need be: what a buffer leaves behind is less than what it has. */
static int has_room(Buffer *buffer, u64 bytes) {
    u64 needed = buffer->bytes + bytes, doubled = 2 * (u64)buffer->room;
    if (needed <= buffer->room) return 1;
    u64 room = needed > doubled ? needed : doubled;
    u8 *at = take(room);
    if (!at) return 0;
    __builtin_memcpy(at, buffer->at, buffer->bytes);
    buffer->at = at;
    buffer->room = (u32)room;
    return 1;
}

/* Sixteen bytes at a time: up to fifteen bytes after either text are read, none of them count. */
static int is_same(const u8 *a, const u8 *b, u32 bytes) {
    for (; bytes >= 16; a += 16, b += 16, bytes -= 16)
        if (!wasm_i8x16_all_true(wasm_i8x16_eq(wasm_v128_load(a), wasm_v128_load(b)))) return 0;
    u32 differ = ~wasm_i8x16_bitmask(wasm_i8x16_eq(wasm_v128_load(a), wasm_v128_load(b)));
    return !(differ & ((1u << bytes) - 1));
}

static u64 word(const u8 *at) {
    u64 value;
    __builtin_memcpy(&value, at, 8);
    return value;
}

static u64 hash_of(u64 hash, const u8 *at, u32 bytes) {
    for (; bytes >= 8; at += 8, bytes -= 8) hash = ((hash ^ word(at)) * 0x9e3779b97f4a7c15ull) ^ (hash >> 29);
    u64 rest = bytes ? word(at) << (64 - 8 * bytes) : 0;
    hash = (hash ^ rest ^ bytes) * 0x9e3779b97f4a7c15ull;
    return hash ^ hash >> 32;
}

/* ---- Names that the host gives: of categories and of arguments. */

typedef struct {
    u32 start, bytes; /* in `given` */
} Name;

typedef struct {
    Name names[MOST_NAMES];
    u8 slots[256]; /* number of a name plus one, by hash */
    u32 count;
} Names;

/* The events of a category. */
typedef struct {
    u64 needed, unexpected; /* arguments, a bit for each; those needed are not negative */
    u32 numbers, texts;
    u8 number[MOST_FIELDS], text[MOST_FIELDS]; /* arguments */
    u8 is_counted; /* and not read */
    u8 is_ordered; /* by place in the file, but for those that have all numbers that are needed: an identifier */
    u8 has_name_in_text;
} Category;

enum { CATEGORY, NUMBER, NEEDED_NUMBER, TEXT, UNEXPECTED, PHASE }; /* what a name is, see `configure` */

static Buffer given;
static Names of_categories, of_arguments;
static Category categories[MOST_NAMES];
static u8 left_phases[128]; /* events of these phases are left to the host */

static u8 name_slot(const u8 *text, u32 bytes) { return (u8)hash_of(0, text, bytes); }

static i32 number_of(const Names *all, const u8 *text, u32 bytes) {
    for (u8 slot = name_slot(text, bytes); all->slots[slot]; slot++) {
        const Name *name = &all->names[all->slots[slot] - 1];
        if (name->bytes == bytes && is_same(given.at + name->start, text, bytes)) return all->slots[slot] - 1;
    }
    return ABSENT;
}

static i32 with_name(Names *all, const u8 *text, u32 bytes) {
    i32 known = number_of(all, text, bytes);
    if (known != ABSENT) return known;
    if (all->count == MOST_NAMES || !has_room(&given, bytes)) return ABSENT;
    u8 slot = name_slot(text, bytes);
    while (all->slots[slot]) slot++;
    all->names[all->count++] = (Name){given.bytes, bytes};
    all->slots[slot] = (u8)all->count;
    __builtin_memcpy(given.at + given.bytes, text, bytes);
    given.bytes += bytes;
    return (i32)all->count - 1;
}

typedef struct {
    const u8 *start, *end;
} Span;

/* ---- Texts, each kept once and numbered: names, threads, and the texts of arguments. */

typedef struct {
    u64 hash;
    u32 start, bytes; /* in `texts` */
} Text;

enum { OF_NAME = MOST_NAMES, OF_THREAD }; /* what a text is of, if not of the arguments of a category */

static Buffer texts;
static Buffer numbered; /* Text */
static Buffer slots; /* number of a text plus one, by hash */
static Buffer codes; /* i32 for each text, by the host */
static Buffer left_by_text; /* u64 for each text: the categories whose events with it are left to the host */
static u32 text_count;

static int more_slots(void) {
    u32 size = slots.room ? slots.room * 2 : 1 << 14;
    u8 *at = take(size);
    if (!at) return 0;
    __builtin_memset(at, 0, size);
    u32 mask = size / 4 - 1, *table = (u32 *)at;
    for (u32 i = 0; i < text_count; i++) {
        u32 slot = (u32)((Text *)numbered.at)[i].hash & mask;
        while (table[slot]) slot = (slot + 1) & mask;
        table[slot] = i + 1;
    }
    slots = (Buffer){at, size, size};
    return 1;
}

/* The number of the text that the parts make; NO_MEMORY if there is none. */
static i32 number_of_text(const Span *parts, u32 count) {
    u64 hash = 0;
    u32 bytes = 0;
    for (u32 i = 0; i < count; i++) {
        u32 of_part = (u32)(parts[i].end - parts[i].start);
        hash = hash_of(hash, parts[i].start, of_part);
        bytes += of_part;
    }
    hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15ull; /* the last bytes count in the lowest bits too, the slot's */
    hash ^= hash >> 32;
    if (2 * text_count >= slots.room / 4 && !more_slots()) return NO_MEMORY;
    u32 mask = slots.room / 4 - 1, slot = (u32)hash & mask, *table = (u32 *)slots.at;
    for (; table[slot]; slot = (slot + 1) & mask) {
        Text *known = (Text *)numbered.at + table[slot] - 1;
        if (known->hash != hash || known->bytes != bytes) continue;
        const u8 *at = texts.at + known->start;
        u32 i = 0;
        for (; i < count && is_same(at, parts[i].start, (u32)(parts[i].end - parts[i].start)); i++)
            at += parts[i].end - parts[i].start;
        if (i == count) return (i32)table[slot] - 1;
    }
    if (!has_room(&texts, (u64)bytes + PADDING) || !has_room(&numbered, sizeof(Text)) || !has_room(&codes, 4) ||
        !has_room(&left_by_text, 8))
        return NO_MEMORY;
    ((Text *)numbered.at)[text_count] = (Text){hash, texts.bytes, bytes};
    for (u32 i = 0; i < count; i++) {
        u32 of_part = (u32)(parts[i].end - parts[i].start);
        __builtin_memcpy(texts.at + texts.bytes, parts[i].start, of_part);
        texts.bytes += of_part;
    }
    numbered.bytes += sizeof(Text), codes.bytes += 4, left_by_text.bytes += 8;
    table[slot] = ++text_count;
    return (i32)text_count - 1;
}

/* ---- JSON. Each function takes the place where a value begins and returns the place after it, 0 if it is not JSON. */

static int is_left; /* the event that is being read is left to the host */

INLINE const u8 *skip_space(const u8 *at) {
    if (*at > ' ') return at;
    if (*at == ' ' && at[1] > ' ') return at + 1;
    for (;; at += 16) {
        v128_t bytes = wasm_v128_load(at);
        v128_t line = wasm_v128_or(wasm_i8x16_eq(bytes, wasm_i8x16_splat('\n')), wasm_i8x16_eq(bytes, wasm_i8x16_splat('\r')));
        v128_t space = wasm_v128_or(wasm_i8x16_eq(bytes, wasm_i8x16_splat(' ')), wasm_i8x16_eq(bytes, wasm_i8x16_splat('\t')));
        u32 other = ~wasm_i8x16_bitmask(wasm_v128_or(line, space)) & 0xffff;
        if (other) return at + __builtin_ctz(other);
    }
}

/* The place of the closing quote; `at` follows the opening one. Escapes are read of a quote and of slashes only: the
   others may be unescaped backslashes of a path, which repair.py tells by the other strings of the piece. */
INLINE const u8 *end_of_string(const u8 *at) {
    for (;;) {
        v128_t bytes = wasm_v128_load(at);
        /* control characters are below 32 and other than ASCII, as signed bytes, below 0 */
        v128_t found = wasm_v128_or(wasm_i8x16_eq(bytes, wasm_i8x16_splat('"')), wasm_i8x16_eq(bytes, wasm_i8x16_splat('\\')));
        u32 mask = wasm_i8x16_bitmask(wasm_v128_or(found, wasm_i8x16_lt(bytes, wasm_i8x16_splat(32))));
        if (!mask) {
            at += 16;
            continue;
        }
        at += __builtin_ctz(mask);
        if (*at == '"') return at;
        if (*at < 32) return 0;
        if (*at == '\\') {
            u8 next = at[1];
            if (next < 32) return 0;
            if (next != '"' && next != '\\' && next != '/') is_left = 1;
            at++;
        } else
            is_left = 1;
        at++;
    }
}

static int is_digit(u8 c) { return c >= '0' && c <= '9'; }

INLINE const u8 *end_of_digits(const u8 *at) {
    for (;; at += 16) {
        v128_t digits = wasm_i8x16_sub(wasm_v128_load(at), wasm_i8x16_splat('0'));
        u32 other = wasm_i8x16_bitmask(wasm_u8x16_gt(digits, wasm_i8x16_splat(9)));
        if (other) return at + __builtin_ctz(other);
    }
}

INLINE const u8 *end_of_number(const u8 *at) {
    if (*at == '-') at++;
    if (!is_digit(*at)) return 0;
    at = *at == '0' ? at + 1 : end_of_digits(at);
    if (*at == '.') {
        if (!is_digit(*++at)) return 0;
        at = end_of_digits(at);
    }
    if (*at == 'e' || *at == 'E') {
        at++;
        if (*at == '+' || *at == '-') at++;
        if (!is_digit(*at)) return 0;
        while (is_digit(*at)) at++;
    }
    return at;
}

static const u8 *end_of_word(const u8 *at, const char *word, u32 bytes) {
    return is_same(at, (const u8 *)word, bytes) ? at + bytes : 0;
}

static const u8 *end_of_value(const u8 *at, u32 nested);

static const u8 *end_of_array(const u8 *at, u32 nested) {
    at = skip_space(at + 1);
    if (*at == ']') return at + 1;
    for (;;) {
        at = end_of_value(at, nested);
        if (!at) return 0;
        at = skip_space(at);
        if (*at == ']') return at + 1;
        if (*at != ',') return 0;
        at = skip_space(at + 1);
    }
}

/* The place of the value of the field whose name begins at `at`, and the name. */
INLINE const u8 *field_name(const u8 *at, Span *name) {
    if (*at != '"') return 0;
    name->start = at + 1;
    name->end = end_of_string(at + 1);
    if (!name->end) return 0;
    at = skip_space(name->end + 1);
    return *at == ':' ? skip_space(at + 1) : 0;
}

/* After a value: the place of the next field's name, or after the object, with `is_over`. */
INLINE const u8 *next_field(const u8 *at, int *is_over) {
    at = skip_space(at);
    *is_over = *at == '}';
    if (*is_over) return at + 1;
    return *at == ',' ? skip_space(at + 1) : 0;
}

/* The place of the first field's name, or after the object, with `is_over`. */
static const u8 *first_field(const u8 *at, int *is_over) {
    at = skip_space(at + 1);
    *is_over = *at == '}';
    return *is_over ? at + 1 : at;
}

static const u8 *end_of_object(const u8 *at, u32 nested) {
    int is_over;
    at = first_field(at, &is_over);
    while (at && !is_over) {
        Span name;
        at = field_name(at, &name);
        if (at) at = end_of_value(at, nested);
        if (at) at = next_field(at, &is_over);
    }
    return at;
}

static const u8 *end_of_value(const u8 *at, u32 nested) {
    switch (*at) {
    case '"': return (at = end_of_string(at + 1)) ? at + 1 : 0;
    case '[': return nested ? end_of_array(at, nested - 1) : 0;
    case '{': return nested ? end_of_object(at, nested - 1) : 0;
    case 't': return end_of_word(at, "true", 4);
    case 'f': return end_of_word(at, "false", 5);
    case 'n': return end_of_word(at, "null", 4);
    default: return end_of_number(at);
    }
}

/* ---- Events. */

typedef struct {
    u32 start, end; /* in the piece */
    i32 category, name, thread, text;
    i64 start_ns, duration_ns;
    i64 numbers[MOST_FIELDS];
} Event;

typedef struct {
    u32 start, end; /* in the piece */
} Left;

static Buffer piece;
static u64 unordered; /* ordered categories of which an event is left: the others are left too, to stay in order */
static Buffer events; /* Event */
static Buffer lefts; /* Left */
static Buffer columns;

/* What the host reads of the memory after a call. */
static struct {
    u32 text_count; /* those of pieces that are not JSON too */
    u8 *texts, *numbered, *codes, *left_by_text; /* after `scan` */
    u8 *lefts, *columns; /* after `divide` */
    u32 rows[MOST_NAMES]; /* by category */
} report;

/* An integer, or 0 with the event left to the host if the value is none of up to 18 digits. */
static i64 integer(Span value) {
    const u8 *at = value.start;
    int is_negative = *at == '-';
    at += is_negative;
    i64 number = 0;
    if (value.end - at > MOST_DIGITS) is_left = 1;
    for (; at < value.end; at++) {
        if (!is_digit(*at)) is_left = 1;
        number = number * 10 + (*at - '0');
        if (is_left) return 0;
    }
    return is_negative ? -number : number;
}

/* Microseconds with at most three decimals as nanoseconds; of more decimals, all zero, none counts. */
static i64 nanoseconds(Span value) {
    const u8 *at = value.start;
    int is_negative = *at == '-';
    at += is_negative;
    u64 number = 0; /* below 10^19: 16 digits and three decimals */
    u32 digits = 0;
    for (; at < value.end && is_digit(*at); at++, digits++) number = number * 10 + (*at - '0');
    if (digits > MOST_DIGITS - 2) is_left = 1; /* 10^16 us are more than the largest time */
    u32 decimals = 0;
    if (at < value.end && *at == '.')
        for (at++; at < value.end && is_digit(*at); at++) {
            if (decimals == 3) {
                if (*at != '0') is_left = 1;
                continue;
            }
            number = number * 10 + (*at - '0');
            decimals++;
        }
    if (at != value.end) is_left = 1;
    for (; decimals < 3; decimals++) number *= 10;
    if (is_left || number > LARGEST_TIME_NS) is_left = 1;
    return is_negative ? -(i64)number : (i64)number;
}

static i32 number_of_name(Span name) {
    static const u8 of = OF_NAME;
    const Span parts[] = {{&of, &of + 1}, name};
    return number_of_text(parts, 2);
}

static i32 number_of_thread(Span pid, Span tid) {
    static const u8 of = OF_THREAD, zero = 0;
    const Span parts[] = {{&of, &of + 1}, pid, {&zero, &zero + 1}, tid};
    return number_of_text(parts, 4);
}

/* The number of the text of an event's arguments: a byte for the category, its name's number if that belongs to it,
   and the arguments, each after a zero. */
static i32 number_of_arguments(const Category *category, i32 number, i32 name, u64 seen, const Span *values) {
    static const u8 zero = 0;
    u8 of = (u8)number;
    Span parts[2 * MOST_FIELDS + 2], *part = parts;
    *part++ = (Span){&of, &of + 1};
    if (category->has_name_in_text) *part++ = (Span){(u8 *)&name, (u8 *)&name + 4};
    for (u32 i = 0; i < category->texts; i++) {
        u8 argument = category->text[i];
        *part++ = (Span){&zero, &zero + 1};
        if (seen >> argument & 1) *part++ = values[argument];
    }
    return number_of_text(parts, (u32)(part - parts));
}

enum { CAT = 1, NAME = 2, PID = 4, TID = 8, TS = 16, DUR = 32, ARGS = 64, PH = 128 };
enum { COMPLETE = CAT | NAME | PID | TID | TS | DUR };

static u32 field_of(Span name) {
    const u8 *at = name.start;
    switch (name.end - at) {
    case 2:
        if (at[0] == 't' && at[1] == 's') return TS;
        return at[0] == 'p' && at[1] == 'h' ? PH : 0;
    case 3:
        if (at[0] == 'c' && at[1] == 'a' && at[2] == 't') return CAT;
        if (at[0] == 'p' && at[1] == 'i' && at[2] == 'd') return PID;
        if (at[0] == 't' && at[1] == 'i' && at[2] == 'd') return TID;
        return at[0] == 'd' && at[1] == 'u' && at[2] == 'r' ? DUR : 0;
    case 4:
        if (is_same(at, (const u8 *)"name", 4)) return NAME;
        return is_same(at, (const u8 *)"args", 4) ? ARGS : 0;
    default: return 0;
    }
}

/* ---- Expected fields, in order: most events have the fields of an earlier event. */

_Static_assert(MOST_EXPECTED_BYTES + 15 <= PADDING, "`is_same` reads so far after the end of a piece");

typedef struct {
    u8 text[MOST_EXPECTED_BYTES + 16]; /* from the end of the previous value to the start of this field's value */
    u32 bytes;
    i32 role;
} Expected;

typedef struct {
    Expected fields[MOST_EXPECTED_FIELDS];
} Shape;

static Shape of_events, of_arguments_by_category[MOST_NAMES + 1]; /* the first one where no category is known */

/* The place of the next field's value, with the field's role: the number of an argument among `names`, or `field_of`; or
   the place after the object, with `is_over`. `at` is the place of the object if the field `is_first`, else the place
   after a value. */
INLINE const u8 *next_value(const u8 *at, int is_first, Shape *shape, u32 *next, const Names *names, i32 *role, int *is_over) {
    *is_over = 0;
    for (u32 i = *next; i < *next + 2 && i < MOST_EXPECTED_FIELDS; i++) { /* a field may be missing */
        const Expected *expected = shape->fields + i;
        if (expected->bytes && is_same(at, expected->text, expected->bytes)) {
            *next = i + 1;
            *role = expected->role;
            return skip_space(at + expected->bytes);
        }
    }
    const u8 *start = at;
    at = is_first ? first_field(at, is_over) : next_field(at, is_over);
    if (!at || *is_over) return at;
    int was_left = is_left;
    is_left = 0;
    Span name;
    at = field_name(at, &name);
    if (!at) return 0;
    *role = names ? number_of(names, name.start, (u32)(name.end - name.start)) : (i32)field_of(name);
    if (*next < MOST_EXPECTED_FIELDS) {
        Expected *expected = shape->fields + (*next)++;
        u32 bytes = (u32)(at - start);
        expected->bytes = is_left || bytes > MOST_EXPECTED_BYTES ? 0 : bytes;
        __builtin_memcpy(expected->text, start, expected->bytes);
        expected->role = *role;
    }
    is_left |= was_left;
    return at;
}

/* As `end_of_value`, without a call for what most values are. */
INLINE const u8 *end_of_short_value(const u8 *at) {
    if (is_digit(*at)) return end_of_number(at);
    if (*at != '"') return end_of_value(at, MOST_NESTED);
    at = end_of_string(at + 1);
    return at ? at + 1 : 0;
}

static const u8 *read_arguments(const u8 *at, i32 category, u64 *seen, Span *values) {
    Shape *shape = of_arguments_by_category + (category + 1);
    u32 next = 0;
    for (int is_first = 1;; is_first = 0) {
        i32 argument;
        int is_over;
        at = next_value(at, is_first, shape, &next, &of_arguments, &argument, &is_over);
        if (!at || is_over) return at;
        const u8 *start = at;
        at = end_of_short_value(at);
        if (!at) return 0;
        if (argument != ABSENT) {
            *seen |= 1ull << argument;
            values[argument] = (Span){start, at};
        }
    }
}

static i32 add_event(Event *event, const Category *category, Span name, Span pid, Span tid, u64 seen, const Span *values) {
    event->name = event->thread = event->text = ABSENT;
    if (!category->is_counted) {
        event->name = number_of_name(name);
        event->thread = number_of_thread(pid, tid);
        if (event->name < 0 || event->thread < 0) return NO_MEMORY;
        for (u32 i = 0; i < category->numbers; i++) {
            u8 argument = category->number[i];
            event->numbers[i] = seen >> argument & 1 ? integer(values[argument]) : ABSENT;
            if (category->needed >> argument & 1 && event->numbers[i] < 0) is_left = 1;
        }
        if (is_left) return 0;
        if (category->texts) {
            event->text = number_of_arguments(category, event->category, event->name, seen, values);
            if (event->text < 0) return NO_MEMORY;
        }
    }
    if (!has_room(&events, sizeof(Event))) return NO_MEMORY;
    *(Event *)(events.at + events.bytes) = *event;
    events.bytes += sizeof(Event);
    return 0;
}

/* Of an event that is left: its category loses its order; all lose it if an escape hides the category. */
static void note_order(Span cat, u64 seen) {
    if (!cat.start || *cat.start != '"') return;
    int is_hidden = 0;
    for (const u8 *at = cat.start; at < cat.end; at++) is_hidden |= *at == '\\';
    i32 number = number_of(&of_categories, cat.start + 1, (u32)(cat.end - cat.start) - 2);
    for (u32 i = 0; i < of_categories.count; i++) {
        const Category *category = categories + i;
        int has_number = category->needed && !(category->needed & ~seen);
        if (category->is_ordered && !has_number && (number == (i32)i || is_hidden)) unordered |= 1ull << i;
    }
}

static i32 number_of_category(Span text) { /* with its quotes */
    return number_of(&of_categories, text.start + 1, (u32)(text.end - text.start) - 2);
}

/* Read the object at `at`; `problem` becomes NO_MEMORY if there is none. */
static const u8 *read_event(const u8 *at, i32 *problem) {
    static Span values[MOST_NAMES];
    const u8 *start = at;
    Event event = {.category = ABSENT};
    Span fields[7] = {0};
    u64 seen = 0;
    u32 found = 0;
    u8 phase = 0;
    u32 next = 0;
    is_left = 0;
    for (int is_first = 1;; is_first = 0) {
        i32 field;
        int is_over;
        at = next_value(at, is_first, &of_events, &next, 0, &field, &is_over);
        if (!at) return 0;
        if (is_over) break;
        Span value = {at, at};
        if (field == ARGS) {
            if (found & ARGS) is_left = 1; /* the last one counts, and none of the others */
            if (*at != '{') is_left = 1;
            value.end = at = *at == '{' ? read_arguments(at, event.category, &seen, values) : end_of_value(at, MOST_NESTED);
        } else
            value.end = at = end_of_short_value(at);
        if (!at) return 0;
        int is_text = *value.start == '"', is_number = *value.start == '-' || is_digit(*value.start);
        if (field == PH) {
            if (!is_text || value.end - value.start != 3) is_left = 1;
            phase = value.start[1];
        } else if (field) {
            if (field == CAT) event.category = is_text ? number_of_category(value) : ABSENT;
            if (field & (NAME | CAT) ? !is_text : field & (TS | DUR) ? !is_number : field & (PID | TID) && !is_text) {
                if (field & (PID | TID) && is_number)
                    integer(value); /* others than integers are left */
                else
                    is_left = 1;
            }
            found |= field;
            fields[__builtin_ctz((u32)field)] = value;
        }
    }
    if (found & TS) event.start_ns = nanoseconds(fields[4]);
    if (found & DUR) event.duration_ns = nanoseconds(fields[5]);
    event.start = (u32)(start - piece.at), event.end = (u32)(at - piece.at);
    if (phase < 128 && left_phases[phase]) is_left = 1;
    if (!is_left && phase == 'X') {
        Span text = {fields[1].start + 1, fields[1].end - 1};
        int is_complete = (found & COMPLETE) == COMPLETE && event.category != ABSENT;
        const Category *category = is_complete ? categories + event.category : 0;
        if (!category || category->needed & ~seen || category->unexpected & seen)
            is_left = 1;
        else if ((*problem = add_event(&event, category, text, fields[2], fields[3], seen, values)))
            return at;
    }
    if (is_left) {
        if (phase == 'X' || phase == '\\') note_order(fields[0], seen);
        if (!has_room(&lefts, sizeof(Left))) *problem = NO_MEMORY;
        else {
            *(Left *)(lefts.at + lefts.bytes) = (Left){event.start, event.end};
            lefts.bytes += sizeof(Left);
        }
    }
    return at;
}

/* ---- What the host calls. */

/* Return the place of a piece of so many bytes; 0 if there is no memory for it. */
__attribute__((export_name("reserve"))) u8 *reserve(u32 bytes) {
    piece.bytes = 0;
    if (!has_room(&piece, (u64)bytes + PADDING)) return 0;
    piece.bytes = bytes;
    __builtin_memset(piece.at + bytes, 0, PADDING);
    return piece.at;
}

/* Set categories and arguments from the piece. Each of its lines is a role, a value, the length of a name, and the name:
   a category, with 1 if its events are only counted, 2 if the name belongs to the text and 4 if they are ordered; an
   argument of the category before; or a phase, whose events are left to the host. Return NO_MEMORY for too many. */
__attribute__((export_name("configure"))) i32 configure(void) {
    Category *category = 0;
    for (const u8 *at = piece.at, *end = at + piece.bytes; at < end; at += 3 + at[2]) {
        u32 role = at[0], value = at[1];
        if (role == PHASE) {
            left_phases[value & 127] = 1;
            continue;
        }
        i32 number = with_name(role == CATEGORY ? &of_categories : &of_arguments, at + 3, at[2]);
        if (number == ABSENT) return NO_MEMORY;
        if (role == CATEGORY) {
            category = categories + number;
            category->is_counted = value & 1;
            category->has_name_in_text = value >> 1 & 1;
            category->is_ordered = value >> 2 & 1;
        } else if (role == UNEXPECTED)
            category->unexpected |= 1ull << number;
        else {
            if (category->numbers == MOST_FIELDS || category->texts == MOST_FIELDS) return NO_MEMORY;
            if (role == NEEDED_NUMBER) category->needed |= 1ull << number;
            if (role == TEXT)
                category->text[category->texts++] = (u8)number;
            else
                category->number[category->numbers++] = (u8)number;
        }
    }
    return 0;
}

__attribute__((export_name("report"))) void *get_report(void) { return &report; }

static i32 read_piece(void) {
    i32 count = 0, problem = 0;
    const u8 *at = skip_space(piece.at);
    if (*at++ != '[') return NOT_JSON;
    at = skip_space(at);
    if (*at == ']')
        at++;
    else
        for (;;) {
            if (*at != '{') return NOT_JSON;
            at = read_event(at, &problem);
            if (problem) return problem;
            if (!at) return NOT_JSON;
            count++;
            at = skip_space(at);
            if (*at == ']') {
                at++;
                break;
            }
            if (*at != ',') return NOT_JSON;
            at = skip_space(at + 1);
        }
    return skip_space(at) == piece.at + piece.bytes ? count : NOT_JSON;
}

/* Read the piece, an array of events. Return their number, NOT_JSON or NO_MEMORY. */
__attribute__((export_name("scan"))) i32 scan(void) {
    events.bytes = lefts.bytes = 0;
    unordered = 0;
    i32 count = read_piece();
    report.text_count = text_count, report.texts = texts.at, report.numbered = numbered.at;
    report.codes = codes.at, report.left_by_text = left_by_text.at;
    return count;
}

static int is_left_by(const Event *event, i32 text) {
    return text != ABSENT && ((u64 *)left_by_text.at)[text] >> event->category & 1;
}

/* Divide the events that were read: into the columns of each category, and those left to the host, whose number is
   returned; NO_MEMORY if there is none. The columns stand one after the other, category after category: name, thread,
   start_ns, duration_ns, text, and the numbers in the order in which they were added. */
__attribute__((export_name("divide"))) i32 divide(void) {
    Event *all = (Event *)events.at;
    u32 count = events.bytes / sizeof(Event);
    if (!has_room(&lefts, (u64)count * sizeof(Left))) return NO_MEMORY;
    u32 *rows = report.rows;
    __builtin_memset(rows, 0, sizeof(report.rows));
    for (u32 i = 0; i < count; i++)
        if (unordered >> all[i].category & 1 || is_left_by(all + i, all[i].name) || is_left_by(all + i, all[i].text)) {
            *(Left *)(lefts.at + lefts.bytes) = (Left){all[i].start, all[i].end};
            lefts.bytes += sizeof(Left);
            all[i].category = ABSENT;
        } else
            rows[all[i].category]++;
    i64 *next[MOST_NAMES];
    u64 values = 0;
    for (u32 i = 0; i < of_categories.count; i++)
        if (!categories[i].is_counted) values += (u64)rows[i] * (5 + categories[i].numbers);
    columns.bytes = 0;
    if (!has_room(&columns, values * 8)) return NO_MEMORY;
    i64 *at = (i64 *)columns.at;
    for (u32 i = 0; i < of_categories.count; i++) {
        next[i] = at;
        if (!categories[i].is_counted) at += (u64)rows[i] * (5 + categories[i].numbers);
    }
    const i32 *code = (i32 *)codes.at;
    for (u32 i = 0; i < count; i++) {
        const Event *event = all + i;
        if (event->category == ABSENT || categories[event->category].is_counted) continue;
        u32 step = rows[event->category], numbers = categories[event->category].numbers;
        i64 *row = next[event->category]++;
        row[0] = code[event->name];
        row[step] = code[event->thread];
        row[2 * step] = event->start_ns;
        row[3 * step] = event->duration_ns;
        row[4 * step] = event->text == ABSENT ? ABSENT : code[event->text];
        for (u32 j = 0; j < numbers; j++) row[(5 + j) * step] = event->numbers[j];
    }
    report.lefts = lefts.at, report.columns = columns.at;
    return (i32)(lefts.bytes / sizeof(Left));
}
