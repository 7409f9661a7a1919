/* generate: continues a text greedily.  Usage: generate MODEL TEXT */
#include <kexa.h>

#include <stdio.h>

int main(int argc, char **argv)
{
    struct kexa_error e = { 0 };
    if (argc != 3)
        return 2;
    struct kexa_model *m = kexa_model_open(argv[1], NULL, &e);
    struct kexa_session *s = m ? kexa_session_open(m, NULL, &e) : NULL;
    bool ok = s && kexa_session_add_text(s, argv[2], KEXA_ADD_SPECIAL, &e);
    for (int i = 0; ok && i < 16; i++) {
        uint32_t id;
        size_t n;
        ok = kexa_session_next(s, &id, &e);
        if (!ok || kexa_model_is_end(m, id))
            break;
        const char *bytes = kexa_model_token(m, id, &n);
        fwrite(bytes, 1, n, stdout);
    }
    putchar('\n');
    kexa_session_close(s);
    kexa_model_close(m);
    if (!ok)
        fprintf(stderr, "generate: %s\n", e.message);
    return ok ? 0 : e.exit_status;
}
