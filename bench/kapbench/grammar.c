#include "bench/kapbench/grammar.h"

#include <math.h>
#include <stdio.h>

#include "engine/base/assert.h"
#include "engine/base/le.h"

void kap_draw_init(struct kap_draw *draw, uint64_t seed)
{
    draw->state = seed * UINT64_C(0x9e3779b97f4a7c15) + UINT64_C(0xd1b54a32d192ed03);
    if (draw->state == 0)
        draw->state = 1;
}

uint64_t kap_draw_next(struct kap_draw *draw)
{
    uint64_t x = draw->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    draw->state = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

uint32_t kap_draw_below(struct kap_draw *draw, uint32_t below)
{
    return (uint32_t)((kap_draw_next(draw) >> 32) * below >> 32);
}

double kap_draw_unit(struct kap_draw *draw)
{
    return (double)(kap_draw_next(draw) >> 11) * 0x1p-53;
}

uint32_t kap_draw_lognormal(struct kap_draw *draw, double median, double sigma, uint32_t low, uint32_t high)
{
    double u = kap_draw_unit(draw), v = kap_draw_unit(draw);
    double normal = sqrt(-2 * log(u > 0 ? u : 0x1p-53)) * cos(2 * M_PI * v);
    double value = median * exp(sigma * normal);
    return value < low ? low : value > high ? high : (uint32_t)value;
}

uint32_t kap_draw_zipf(struct kap_draw *draw, uint32_t n, double exponent)
{
    double u = kap_draw_unit(draw), rank;
    if (fabs(exponent - 1) < 1e-6)
        rank = pow(n + 1.0, u);
    else
        rank = pow(u * (pow(n + 1.0, 1 - exponent) - 1) + 1, 1 / (1 - exponent));
    uint32_t slot = (uint32_t)rank - 1;
    return slot < n ? slot : n - 1;
}

struct kap_id kap_draw_id(struct kap_draw *draw)
{
    struct kap_id id;
    kap_le64_store(id.bytes, kap_draw_next(draw));
    kap_le64_store(id.bytes + 8, kap_draw_next(draw));
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x40);
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
    return id;
}

static const char *const themes[] = {"Montée de balle", "Repli défensif", "Jeu sans ballon", "Duel aérien", "Tir en appui",
    "Passe et va", "Contre-attaque", "Défense étagée", "Relation pivot", "Prise d'intervalle", "Engagement rapide",
    "Surnombre", "Jeu en triangle", "Gardien et ailiers", "Pressing haut", "Transition offensive", "Coordination",
    "Vitesse de réaction", "Endurance fractionnée", "Gainage dynamique", "Lecture du jeu", "Finition"};
static const char *const frames[] = {"à trois", "en zone réduite", "avec joker", "sous pression", "en supériorité",
    "sur grand espace", "par vagues", "en continu", "avec contrainte de temps", "à effectif égal", "en navette",
    "main faible", "départ décalé", "sans opposition", "en atelier"};
static const char *const subjects[] = {"Le porteur", "Chaque binôme", "La ligne arrière", "L'ailier", "Le pivot",
    "Le groupe rouge", "Le gardien", "Le défenseur le plus proche", "Le joueur démarqué", "Le passeur", "La paire défensive",
    "Le meneur", "L'équipe en attente", "Le remplaçant", "Le dernier relayeur"};
static const char *const verbs[] = {"fixe son adversaire", "attaque l'intervalle", "ralentit la course", "change d'appui",
    "oriente sa prise de balle", "temporise puis accélère", "annonce le bloc", "ressort le ballon", "couvre la zone libre",
    "enchaîne deux courses", "provoque le duel", "cherche l'angle fermé", "protège son ballon", "appelle côté opposé",
    "replace la ligne", "coupe la trajectoire", "vise le second poteau", "varie la hauteur de tir"};
static const char *const places[] = {"devant les neuf mètres", "au centre du terrain", "le long de la touche", "dans l'axe",
    "derrière le plot bleu", "entre les deux portes", "à hauteur du rond central", "dans le couloir gauche",
    "dans le couloir droit", "au-delà de la ligne médiane", "près du poteau", "autour du carré de jeu"};
static const char *const aims[] = {"pour créer un décalage", "afin de libérer le pivot", "pour gagner du temps de décision",
    "avant la fin du signal", "sans perdre la vitesse", "en gardant le regard haut", "pour préparer la passe suivante",
    "malgré la fatigue", "jusqu'au sifflet", "en limitant les contacts", "avec trois appuis au plus",
    "sans reprendre de dribble", "dès la récupération"};
static const char *const ends[] = {"On compte %u passages.", "Repos de %u secondes.", "Objectif : %u réussites.",
    "Changer les rôles après %u minutes.", "Tolérer %u pertes de balle.", "Augmenter la distance de %u mètres.",
    "Noter les %u meilleures actions.", "Recommencer %u fois."};

#define PICK(draw, list) (list[kap_draw_below(draw, (uint32_t)KAP_ARRAY_LEN(list))])

struct kap_bytes kap_text_title(struct kap_draw *draw, struct kap_arena *arena)
{
    char *text = kap_arena_printf(arena, "%s %s n° %u", PICK(draw, themes), PICK(draw, frames),
                                  1 + kap_draw_below(draw, 999));
    return text ? kap_bytes_str(text) : kap_bytes(NULL, 0);
}

struct kap_bytes kap_text_prose(struct kap_draw *draw, struct kap_arena *arena, size_t bytes, size_t bytes_max)
{
    uint8_t *text = kap_arena_push_bytes(arena, bytes_max);
    size_t len = 0;
    if (!text)
        return kap_bytes(NULL, 0);
    while (len < bytes) {
        char sentence[320], end[64];
        /* The format comes from the list above, whose entries all take one number. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
        snprintf(end, sizeof end, PICK(draw, ends), 2 + kap_draw_below(draw, 88));
#pragma GCC diagnostic pop
        int n = snprintf(sentence, sizeof sentence, "%s%s %s %s %s. %s", len ? " " : "", PICK(draw, subjects),
                         PICK(draw, verbs), PICK(draw, places), PICK(draw, aims), kap_draw_below(draw, 3) == 0 ? end : "");
        while (n > 0 && sentence[n - 1] == ' ')
            n--;
        if (len + (size_t)n > bytes_max)
            break;
        memcpy(text + len, sentence, (size_t)n);
        len += (size_t)n;
    }
    return kap_bytes(text, len);
}
