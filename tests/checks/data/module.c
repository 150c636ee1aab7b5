/* A module as small as one can be, without any header, so that every compiler makes it. */

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#define PYTHON __declspec(dllimport)
#else
#define EXPORT __attribute__((visibility("default")))
#define PYTHON
#endif

PYTHON extern void *PyLong_FromLong(long);
extern int puts(const char *);

#ifdef STATIC_TLS
__attribute__((tls_model("initial-exec"))) EXPORT __thread int counter = 1;
#endif
#ifdef TEXT_RELOCATION
extern char target[];
char target[8] = "target";
__asm__(".text\n.quad target\n");
#endif
#ifdef PROGRAM
int main(void) { return puts("main") < 0; }
#else
EXPORT void *PyInit__native(void)
{
#ifdef STATIC_TLS
    counter++;
#endif
#ifdef LIBRARY_CALL
    puts("init");
#endif
    return PyLong_FromLong(1);
}
#endif
