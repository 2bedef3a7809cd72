/* SPDX-License-Identifier: MIT */
/* The head of a scenario. */
#ifndef VPMU_TOOLS_PLAY_HEAD_H
#define VPMU_TOOLS_PLAY_HEAD_H

#include "play_lex.h"

/* Keys of `model`, `create` and `vm`; of `hardware` and `machine`. */
#define PLAY_MODEL_KEYS                                                                            \
	"v= gp= gp_width= width= fixed= fixed_width= length= ebx= pdcm= fw= core= tsx= debug= n= " \
	"id= ceid0= ceid1= mmir="
#define PLAY_HARDWARE_KEYS                                                                         \
	PLAY_MODEL_KEYS " fgt= hpmn= freeze_smm= anythread= skid= status_skid= interrupt_skid= vmrun= " \
			"atom= status_set= exact_writes= boundary="

bool play_head_word(const char *word);
/* All head lines, up to the first step. */
void play_parse_head(struct play_parser *p);

/* play_check.c: does each step fit each case? Says where it does not. */
bool play_check_file(const struct play_file *f);

#endif /* VPMU_TOOLS_PLAY_HEAD_H */
